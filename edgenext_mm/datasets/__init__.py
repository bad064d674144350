"""Datasets and transforms, by task.

What is for one task is imported when it is asked for, with the library that it needs.
"""

from ..loading import LoadImageFromFile
from ..registry import lazy_import

_BY_TASK = {
    # with mmdet
    'detection': [
        'CocoDataset',
        'CocoMetric',
        'MinIoURandomCrop',
        'PhotoMetricDistortion',
        'XMLDataset',
    ],
    # with mmseg
    'segmentation': ['BaseSegDataset', 'GaussianBlur', 'PascalVOCDataset'],
    # with mmpretrain
    'classification': ['CustomDataset', 'ImageNet', 'MultiScaleRandomResizedCrop'],
}
__all__ = ['LoadImageFromFile', *(name for names in _BY_TASK.values() for name in names)]
__getattr__ = lazy_import(__name__, _BY_TASK)
