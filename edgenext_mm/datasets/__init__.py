"""Datasets and transforms, by task."""

from importlib.util import find_spec

from ..loading import LoadImageFromFile

__all__ = ['LoadImageFromFile']

# Each library can be used without the others.
if find_spec('mmdet'):
    from .detection import (
        CocoDataset,
        CocoMetric,
        MinIoURandomCrop,
        PhotoMetricDistortion,
        XMLDataset,
    )

    __all__ += [
        'CocoDataset',
        'CocoMetric',
        'MinIoURandomCrop',
        'PhotoMetricDistortion',
        'XMLDataset',
    ]

if find_spec('mmseg'):
    from .segmentation import BaseSegDataset, PascalVOCDataset

    __all__ += ['BaseSegDataset', 'PascalVOCDataset']

if find_spec('mmpretrain'):
    from .classification import CustomDataset, ImageNet, MultiScaleRandomResizedCrop

    __all__ += ['CustomDataset', 'ImageNet', 'MultiScaleRandomResizedCrop']
