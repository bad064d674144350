"""mmdet's data preprocessor for images of any number of channels."""

from mmdet.models import DetDataPreprocessor as MMDetDetDataPreprocessor

from ..registry import MODELS
from .preprocessors import AnyChannels


@MODELS.register_module()
class DetDataPreprocessor(AnyChannels, MMDetDetDataPreprocessor):
    """mmdet's DetDataPreprocessor for images of any number of channels.

    Args:
        mean: of each channel, or one for all. Defaults to no normalization.
        std: as many.
        kwargs: the other arguments of mmdet's. ``bgr_to_rgb`` and ``rgb_to_bgr`` are for images
            of three channels.

    Raises:
        InputError: if mean and std do not fit together; in use, if an image has other channels.

    Example:
        >>> import torch
        >>> preprocessor = DetDataPreprocessor(mean=[1, 2, 3, 4], std=[1, 1, 1, 2])
        >>> preprocessor(dict(inputs=[torch.full((4, 1, 1), 6)]))['inputs'].flatten().tolist()
        [5.0, 4.0, 3.0, 1.0]
    """
