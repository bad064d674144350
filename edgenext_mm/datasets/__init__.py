"""Data sets."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmdet'):
    from .coco import CocoDataset
    from .xml_style import XMLDataset

    __all__ += ['CocoDataset', 'XMLDataset']

if find_spec('mmseg'):
    from .segmentation import BaseSegDataset, PascalVOCDataset

    __all__ += ['BaseSegDataset', 'PascalVOCDataset']
