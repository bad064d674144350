"""DeepLabv3 (arXiv 1706.05587) as the EdgeNeXt paper uses it."""

from collections.abc import Sequence
from typing import Any

import torch.nn as nn
from mmcv.cnn import ConvModule
from mmengine.dist import get_world_size
from mmseg.models.decode_heads import ASPPHead
from mmseg.structures import SegDataSample
from torch import Tensor

from ..checkpoint.whole import WholeModule
from ..errors import InputError
from ..registry import MODELS

_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


@MODELS.register_module()
class DeepLabv3Head(WholeModule, ASPPHead):
    """mmseg's ASPPHead with the projection and the rates of DeepLabv3 (section 3.3).

    The concatenated branches are projected by a 1x1 convolution, where mmseg has a 3x3 one, and the
    rates of the branches follow from the stride of the feature map.

    Args:
        in_channels: channels of the backbone's last feature map.
        channels: channels of each branch and of the projection. Defaults to 128, with which the
            network has the size that the EdgeNeXt paper reports.
        output_stride: stride of the backbone's last feature map: 16, for the rates 6, 12 and 18,
            or 8, for rates twice as large. Defaults to 16.
        norm_cfg: defaults to BatchNorm, with which the head trains on batches of two images or
            more, since the pooled map has one value per channel and image.
        kwargs: the other arguments of mmseg's decode heads, such as ``num_classes``.

    Raises:
        InputError: if ``output_stride`` is another, or if BatchNorm is to train on one image.

    Example:
        >>> import torch
        >>> head = DeepLabv3Head(in_channels=16, channels=8, num_classes=21).eval()
        >>> head([torch.rand(1, 16, 32, 32)]).shape
        torch.Size([1, 21, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 128,
        output_stride: int = 16,
        norm_cfg: dict = dict(type='BN'),
        **kwargs: Any,
    ) -> None:
        if output_stride not in (8, 16):
            raise InputError(f'output_stride of DeepLabv3Head is 8 or 16, not {output_stride!r}')
        rate = 6 * 16 // output_stride
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            dilations=(1, rate, 2 * rate, 3 * rate),
            norm_cfg=norm_cfg,
            **kwargs,
        )
        self.bottleneck: ConvModule = ConvModule(
            self.bottleneck.in_channels,
            channels,
            1,
            conv_cfg=self.conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=self.act_cfg,
        )

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: list[SegDataSample], train_cfg: dict
    ) -> dict[str, Tensor]:
        """Compute the losses as mmseg's decode heads do."""
        norm = self.image_pool[1].norm
        images = len(batch_data_samples)
        if isinstance(norm, nn.SyncBatchNorm):
            images *= get_world_size(norm.process_group)
        if images == 1 and isinstance(norm, _BATCH_NORMS) and norm.training:
            raise InputError(
                'BatchNorm in DeepLabv3Head cannot train on a batch of one image: set '
                "train_dataloader.batch_size to 2 or more, or the head's norm_cfg to GroupNorm"
            )
        return super().loss(inputs, batch_data_samples, train_cfg)
