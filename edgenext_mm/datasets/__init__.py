"""Data sets."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmdet'):
    from .coco import CocoDataset

    __all__ += ['CocoDataset']
