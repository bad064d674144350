"""Backbone, necks and heads."""

from importlib.util import find_spec

from .edgenext import ARCHS, EdgeNeXt

__all__ = ['ARCHS', 'EdgeNeXt']

# The backbone serves mmseg and mmpretrain where mmdet is not installed.
if find_spec('mmdet'):
    from .ssdlite import SSDLiteHead, SSDLiteNeck

    __all__ += ['SSDLiteHead', 'SSDLiteNeck']
