"""Weights and models for elsewhere: the inference form, other implementations, publishing."""

from .convert import convert, convert_cvnets
from .publish import publish
from .switch import switch_to_deploy

__all__ = ['convert', 'convert_cvnets', 'publish', 'switch_to_deploy']
