"""What the mm Runner is extended with."""

from .backends import AtomicLocalBackend
from .hooks import NumClassesCheckHook

__all__ = ['AtomicLocalBackend', 'NumClassesCheckHook']
