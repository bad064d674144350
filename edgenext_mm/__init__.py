"""EdgeNeXt for OpenMMLab.

Importing the package imports nothing else: mmengine's registries import the modules of the scope
``edgenext_mm`` when a config asks for one of them.
"""

from .version import __version__

__all__ = ['__version__']
