"""Datasets and transforms for mmdet."""

from .coco import CocoDataset
from .transforms import MinIoURandomCrop, PhotoMetricDistortion
from .xml_style import XMLDataset

__all__ = ['CocoDataset', 'MinIoURandomCrop', 'PhotoMetricDistortion', 'XMLDataset']
