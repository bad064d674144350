"""The form of a model that only infers."""

from .switch import switch_to_deploy

__all__ = ['switch_to_deploy']
