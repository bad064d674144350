"""Synthetic data in the layouts of COCO, Pascal VOC and ImageNet, to try configs with."""

from .data import make_demo_data

__all__ = ['make_demo_data']
