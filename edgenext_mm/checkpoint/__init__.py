"""Where weights come from and how their names map to ours."""

from .pretrained import load_pretrained

__all__ = ['load_pretrained']
