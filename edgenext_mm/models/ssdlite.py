"""SSDLite (MobileNetV2, arXiv 1801.04381, section 6.2) as EdgeNeXt and MobileViT use it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmdet.models.dense_heads import SSDHead
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor

from ..checkpoint.whole import WholeModule
from ..registry import MODELS

_XAVIER = dict(type='Xavier', distribution='uniform', layer='Conv2d', bias=0)


@MODELS.register_module()
class SSDLiteNeck(WholeModule):
    """Projects the backbone's feature maps and adds smaller ones after the last of them.

    The added maps start from the last map as it comes from the backbone: each halves the size by a
    depthwise separable 3x3 convolution, and the last one is the global average, projected without a
    norm, since BatchNorm cannot train on the single value per channel of one pooled image.

    Args:
        in_channels: channels of the backbone's feature maps.
        out_channels: channels of all emitted feature maps: the projected ones, then the added ones.
            Defaults to (512, 256, 256, 128, 128, 64), for two maps of strides 16 and 32 followed by
            strides 64, 128, 256 and the global average.
        norm_cfg: defaults to BatchNorm.
        act_cfg: defaults to ReLU.
        dw_act_cfg: of the depthwise convolutions. Defaults to 'default', which is ``act_cfg`` as in
            mmcv's DepthwiseSeparableConvModule; Apple's CVNets has None.
        init_cfg: defaults to Xavier uniform, as in mmdet's SSD.

    Example:
        >>> import torch
        >>> neck = SSDLiteNeck(in_channels=(8, 16), out_channels=(12, 6, 6, 4)).eval()
        >>> maps = neck((torch.rand(1, 8, 20, 20), torch.rand(1, 16, 10, 10)))
        >>> [tuple(x.shape[1:]) for x in maps]
        [(12, 20, 20), (6, 10, 10), (6, 5, 5), (4, 1, 1)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] = (512, 256, 256, 128, 128, 64),
        norm_cfg: dict | None = dict(type='BN'),
        act_cfg: dict | None = dict(type='ReLU'),
        dw_act_cfg: dict | str | None = 'default',
        init_cfg: dict | list[dict] | None = _XAVIER,
    ) -> None:
        super().__init__(init_cfg)
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.projections = nn.ModuleList(
            ConvModule(*channels, 1, **cfg)
            for channels in zip(in_channels, out_channels, strict=False)
        )
        widths = (in_channels[-1], *out_channels[len(in_channels) : -1])
        self.extra_layers = nn.ModuleList(
            DepthwiseSeparableConvModule(
                *channels, 3, stride=2, padding=1, dw_act_cfg=dw_act_cfg, **cfg
            )
            for channels in pairwise(widths)
        )
        self.pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvModule(widths[-1], out_channels[-1], 1, act_cfg=act_cfg)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn the backbone's feature maps into the neck's, largest first.

        Args:
            inputs: (N, C, H, W) each, C from ``in_channels``.

        Returns:
            (N, C, H, W) each, C from ``out_channels``.
        """
        outs = [project(x) for project, x in zip(self.projections, inputs, strict=True)]
        x = inputs[-1]
        for layer in (*self.extra_layers, self.pool):
            x = layer(x)
            outs.append(x)
        return tuple(outs)


@MODELS.register_module()
class SSDLiteHead(WholeModule, SSDHead):
    """mmdet's SSDHead with depthwise separable convolutions.

    Unlike mmdet's, it predicts, it trains on a single image, and it can learn from images without
    objects. SSD's loss takes the hardest anchors on background, ``train_cfg.neg_pos_ratio`` times
    as many as there are on objects of the image: none without objects. ``train_cfg.min_negatives``
    is how many it takes at least. Defaults to 0, as in the paper.

    Args:
        in_channels: channels of the neck's feature maps.
        norm_cfg: defaults to BatchNorm.
        act_cfg: of the depthwise convolutions. Defaults to ReLU; Apple's CVNets has None.
        init_cfg: defaults to Xavier uniform, as in mmdet's SSD.
        kwargs: the other arguments of mmdet's SSDHead.

    Example:
        >>> import torch
        >>> from mmengine.registry import DefaultScope
        >>> anchors = dict(
        ...     type='edgenext_mm.SSDLiteAnchorGenerator',
        ...     stride=16,
        ...     ratios=[[2], [2]],
        ...     sizes=[0.3, 0.6, 0.9],
        ... )
        >>> with DefaultScope.overwrite_default_scope('mmdet'):
        ...     head = SSDLiteHead((8, 16), num_classes=3, anchor_generator=anchors).eval()
        >>> scores, boxes = head((torch.rand(1, 8, 4, 4), torch.rand(1, 16, 1, 1)))
        >>> [tuple(x.shape) for x in (*scores, *boxes)]  # 4 anchors for 3 classes and background
        [(1, 16, 4, 4), (1, 16, 1, 1), (1, 16, 4, 4), (1, 16, 1, 1)]
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 256, 256, 128, 128, 64),
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict | None = dict(type='ReLU'),
        init_cfg: dict | list[dict] | None = _XAVIER,
        **kwargs: Any,
    ) -> None:
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

    def _init_layers(self) -> None:
        super()._init_layers()
        # BatchNorm cannot train on the last map of a single image, one value per channel.
        for convs in (self.cls_convs, self.reg_convs):
            *_, depthwise, _ = convs[-1]
            channels = depthwise.in_channels
            convs[-1][-2] = ConvModule(
                channels, channels, 3, padding=1, groups=channels, act_cfg=self.act_cfg
            )

    def get_targets(self, *args: Any, **kwargs: Any) -> tuple:
        """Return what mmdet's method does, with the mean number of objects' anchors of a process.

        So the mean of the losses of several processes is the loss of their batches together.
        """
        *targets, avg_factor = super().get_targets(*args, **kwargs)
        if get_world_size() > 1:
            mean = reduce_mean(torch.tensor(float(avg_factor), device=targets[0][0].device))
            avg_factor = mean.item()
        return *targets, avg_factor

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchor: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, Tensor]:
        """Compute the losses of an image as mmdet does, from ``min_negatives`` anchors at least.

        See mmdet's method for the arguments.
        """
        loss_cls, loss_bbox = super().loss_by_feat_single(
            cls_score,
            bbox_pred,
            anchor,
            labels,
            label_weights,
            bbox_targets,
            bbox_weights,
            avg_factor=avg_factor,
        )
        minimum = self.train_cfg.get('min_negatives', 0)
        if minimum:
            positives = ((labels >= 0) & (labels < self.num_classes)).sum().item()
            taken = self.train_cfg['neg_pos_ratio'] * positives
            if taken < minimum:
                negative = labels == self.num_classes
                losses = F.cross_entropy(cls_score[negative], labels[negative], reduction='none')
                losses = losses * label_weights[negative]
                hardest = losses.topk(min(minimum, len(losses))).values
                loss_cls = loss_cls + hardest[taken:].sum() / avg_factor
        return loss_cls, loss_bbox
