"""Data sets."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmdet'):
    from .coco import CocoDataset
    from .ssd_transforms import MinIoURandomCrop, PhotoMetricDistortion
    from .xml_style import XMLDataset

    __all__ += ['CocoDataset', 'MinIoURandomCrop', 'PhotoMetricDistortion', 'XMLDataset']

if find_spec('mmseg'):
    from .segmentation import BaseSegDataset, PascalVOCDataset

    __all__ += ['BaseSegDataset', 'PascalVOCDataset']

if find_spec('mmpretrain'):
    from .classification import CustomDataset, ImageNet
    from .transforms import MultiScaleRandomResizedCrop

    __all__ += ['CustomDataset', 'ImageNet', 'MultiScaleRandomResizedCrop']
