"""DeepLabv3 (arXiv 1706.05587) as the EdgeNeXt paper uses it."""

import torch.nn as nn
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import ASPPHead

from ..errors import InputError
from ..registry import MODELS


@MODELS.register_module()
class DeepLabv3Head(ASPPHead):
    """mmseg's ASPPHead with the projection and the rates of DeepLabv3 (section 3.3).

    The concatenated branches are projected by a 1x1 convolution, where mmseg has a 3x3 one, and the
    rates of the branches follow from the stride of the map.

    Args:
        in_channels (int): channels of the backbone's map.
        channels (int): channels of each branch and of the projection. Defaults to 128, with which
            the network has the size that the EdgeNeXt paper reports.
        output_stride (int): stride of the backbone's map: 16, for the rates 6, 12 and 18, or 8,
            for twice as much. Defaults to 16.
        norm_cfg (dict): defaults to BatchNorm, with which the head trains on batches of two
            images or more, since the pooled map has one value per channel and image.
        kwargs: the other arguments of mmseg's decode heads, such as ``num_classes``.

    Raises:
        InputError: if ``output_stride`` is another, or if BatchNorm is to train on one image.
    """

    def __init__(
        self, in_channels, channels=128, output_stride=16, norm_cfg=dict(type='BN'), **kwargs
    ):
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
        self.bottleneck = ConvModule(
            self.bottleneck.in_channels,
            channels,
            1,
            conv_cfg=self.conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=self.act_cfg,
        )

    def loss(self, inputs, batch_data_samples, train_cfg):
        """Compute the losses as mmseg's decode heads do."""
        norm = self.image_pool[1].norm
        if len(batch_data_samples) == 1 and isinstance(norm, nn.BatchNorm2d) and norm.training:
            raise InputError(
                'BatchNorm in DeepLabv3Head cannot train on a batch of one image: set '
                "train_dataloader.batch_size to 2 or more, or the head's norm_cfg to GroupNorm"
            )
        return super().loss(inputs, batch_data_samples, train_cfg)
