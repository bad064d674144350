"""Datasets, their metric and transforms for mmdet."""

from .coco import CocoDataset
from .coco_metric import CocoMetric
from .transforms import MinIoURandomCrop, PhotoMetricDistortion
from .xml_style import XMLDataset

__all__ = ['CocoDataset', 'CocoMetric', 'MinIoURandomCrop', 'PhotoMetricDistortion', 'XMLDataset']
