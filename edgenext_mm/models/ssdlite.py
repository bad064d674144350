"""SSDLite (MobileNetV2, arXiv 1801.04381, section 6.2) as EdgeNeXt and MobileViT use it."""

from itertools import pairwise

import torch.nn as nn
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmdet.models.dense_heads import SSDHead
from mmengine.model import BaseModule

from ..registry import MODELS

_XAVIER = dict(type='Xavier', distribution='uniform', layer='Conv2d', bias=0)


@MODELS.register_module()
class SSDLiteNeck(BaseModule):
    """Projects the backbone's maps and adds smaller ones below the last of them.

    The added maps start from the unprojected last map: each halves the size by a depth-wise
    separable 3x3 convolution, and the last one is the global average, projected without a norm,
    since BatchNorm cannot train on the single value per channel of one pooled image.

    Args:
        in_channels (Sequence[int]): channels of the backbone's maps.
        out_channels (Sequence[int]): channels of all emitted maps: the projected ones, then the
            added ones. Defaults to (512, 256, 256, 128, 128, 64), for two maps of strides 16 and
            32 followed by strides 64, 128, 256 and the global average.
        norm_cfg (dict): defaults to BatchNorm.
        act_cfg (dict): defaults to ReLU.
        init_cfg (dict): defaults to Xavier uniform, as in mmdet's SSD.
    """

    def __init__(
        self,
        in_channels,
        out_channels=(512, 256, 256, 128, 128, 64),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU'),
        init_cfg=_XAVIER,
    ):
        super().__init__(init_cfg)
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.projections = nn.ModuleList(
            ConvModule(*channels, 1, **cfg)
            for channels in zip(in_channels, out_channels, strict=False)
        )
        widths = (in_channels[-1], *out_channels[len(in_channels) : -1])
        self.extra_layers = nn.ModuleList(
            DepthwiseSeparableConvModule(*channels, 3, stride=2, padding=1, **cfg)
            for channels in pairwise(widths)
        )
        self.pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvModule(widths[-1], out_channels[-1], 1, act_cfg=act_cfg)
        )

    def forward(self, inputs):
        """Map the backbone's maps to ``len(out_channels)`` maps, largest first."""
        outs = [project(x) for project, x in zip(self.projections, inputs, strict=True)]
        x = inputs[-1]
        for layer in (*self.extra_layers, self.pool):
            x = layer(x)
            outs.append(x)
        return tuple(outs)


@MODELS.register_module()
class SSDLiteHead(SSDHead):
    """mmdet's SSDHead, depth-wise, that predicts and that trains on a single image.

    Args:
        in_channels (Sequence[int]): channels of the neck's maps.
        norm_cfg (dict): defaults to BatchNorm.
        act_cfg (dict): defaults to ReLU.
        init_cfg (dict): defaults to Xavier uniform, as in mmdet's SSD.
        kwargs: the other arguments of mmdet's SSDHead.
    """

    def __init__(
        self,
        in_channels=(512, 256, 256, 128, 128, 64),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU'),
        init_cfg=_XAVIER,
        **kwargs,
    ):
        super().__init__(
            in_channels=in_channels,
            use_depthwise=True,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            init_cfg=init_cfg,
            **kwargs,
        )
        # AnchorHead's prediction reads the attribute, which SSDHead does not set: with mmdet 3.3.0
        # and its successors the first validation fails (mmdetection issue 11063).
        self.loss_cls = None

    def _init_layers(self):
        super()._init_layers()
        # The pooled map has one value per channel: see SSDLiteNeck.
        for convs in (self.cls_convs, self.reg_convs):
            *_, depthwise, _ = convs[-1]
            channels = depthwise.in_channels
            convs[-1][-2] = ConvModule(
                channels, channels, 3, padding=1, groups=channels, act_cfg=self.act_cfg
            )
