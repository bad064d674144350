"""A drawn dataset, in the layouts of COCO, Pascal VOC and ImageNet, for trying things out."""

from .data import make_demo_data

__all__ = ['make_demo_data']
