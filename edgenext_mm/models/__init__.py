"""Data preprocessors, backbone, necks and heads.

What is for one task is imported when it is asked for, with the library that it needs.
"""

from ..registry import lazy_import
from .edgenext import ARCHS, EdgeNeXt

_BY_TASK = {
    # detection, with mmdet
    'anchors': ['SSDLiteAnchorGenerator'],
    'det_preprocessor': ['DetDataPreprocessor'],
    'ssdlite': ['SSDLiteHead', 'SSDLiteNeck'],
    # segmentation, with mmseg
    'deeplabv3': ['DeepLabv3Head'],
    'lraspp': ['LRASPPHead'],
    'seg_preprocessor': ['SegDataPreProcessor'],
    'segmentor': ['EncoderDecoder'],
    # detection and segmentation, with mmpretrain and timm
    'timm_backbone': ['TimmBackbone'],
    # classification, with mmpretrain
    'classifier': ['DistilledEdgeNeXtClassifier', 'EdgeNeXtClassifier', 'EdgeNeXtHead'],
}
__all__ = ['ARCHS', 'EdgeNeXt', *(name for names in _BY_TASK.values() for name in names)]
__getattr__ = lazy_import(__name__, _BY_TASK)
