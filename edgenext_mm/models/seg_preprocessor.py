"""mmseg's data preprocessor for images of any number of channels."""

from mmseg.models import SegDataPreProcessor as MMSegSegDataPreProcessor

from ..registry import MODELS
from .preprocessors import AnyChannels


@MODELS.register_module()
class SegDataPreProcessor(AnyChannels, MMSegSegDataPreProcessor):
    """mmseg's SegDataPreProcessor for images of any number of channels.

    See :class:`~edgenext_mm.models.DetDataPreprocessor`.

    Example:
        >>> import torch
        >>> preprocessor = SegDataPreProcessor(mean=[1, 2, 3, 4], std=[1, 1, 1, 2])
        >>> preprocessor(dict(inputs=[torch.full((4, 1, 1), 6)]))['inputs'].flatten().tolist()
        [5.0, 4.0, 3.0, 1.0]
    """
