"""Data preprocessors, backbone, necks and heads."""

from importlib.util import find_spec

from .edgenext import ARCHS, EdgeNeXt

__all__ = ['ARCHS', 'EdgeNeXt']

# Each library can be used without the others.
if find_spec('mmdet'):
    from .anchors import SSDLiteAnchorGenerator
    from .preprocessors import DetDataPreprocessor
    from .ssdlite import SSDLiteHead, SSDLiteNeck

    __all__ += ['DetDataPreprocessor', 'SSDLiteAnchorGenerator', 'SSDLiteHead', 'SSDLiteNeck']

if find_spec('mmseg'):
    from .deeplabv3 import DeepLabv3Head
    from .lraspp import LRASPPHead
    from .preprocessors import SegDataPreProcessor
    from .segmentor import EncoderDecoder

    __all__ += ['DeepLabv3Head', 'EncoderDecoder', 'LRASPPHead', 'SegDataPreProcessor']

if find_spec('mmpretrain'):
    from .classifier import DistilledEdgeNeXtClassifier, EdgeNeXtClassifier, EdgeNeXtHead

    __all__ += ['DistilledEdgeNeXtClassifier', 'EdgeNeXtClassifier', 'EdgeNeXtHead']
