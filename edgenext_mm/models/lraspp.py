"""LR-ASPP (MobileNetV3, arXiv 1905.02244) for maps of any size."""

from typing import Any

import torch.nn as nn
from mmseg.models.decode_heads import LRASPPHead as MMSegLRASPPHead

from ..registry import MODELS


@MODELS.register_module()
class LRASPPHead(MMSegLRASPPHead):
    """mmseg's LRASPPHead with global average pooling.

    mmseg's own pools windows of 49x49 cells, of which a map of fewer cells has none: that is a map
    of stride 16 and an image of less than 784 pixels.

    Args:
        input_transform: as mmseg's head has it, in one way only.
        kwargs: the other arguments of mmseg's head.

    Example:
        >>> import torch
        >>> settings = dict(in_channels=(8, 16, 24), in_index=(0, 1, 2), channels=8)
        >>> head = LRASPPHead(num_classes=3, **settings)
        >>> maps = [torch.rand(1, 8, 16, 16), torch.rand(1, 16, 8, 8), torch.rand(1, 24, 4, 4)]
        >>> head.eval()(maps).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(self, input_transform: str = 'multiple_select', **kwargs: Any) -> None:
        super().__init__(input_transform=input_transform, **kwargs)
        self.image_pool[0] = nn.AdaptiveAvgPool2d(1)
