"""The EdgeNeXt backbone (arXiv 2206.10589)."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from mmcv.cnn import fuse_conv_bn
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from ..checkpoint.whole import PretrainedModule
from ..errors import InputError
from ..registry import MODELS
from .blocks import ConvEncoder, Downsample, SDTAEncoder, Stage, depthwise
from .fold import check_folded, fold_norm
from .ops import LayerNorm2d, Pointwise, compiles, is_captured

_XX_SMALL = dict(depths=(2, 2, 6, 2), dims=(24, 48, 88, 168), num_heads=4)
_X_SMALL = dict(depths=(3, 3, 9, 3), dims=(32, 64, 100, 192), num_heads=4)
_SMALL = dict(depths=(3, 3, 9, 3), dims=(48, 96, 160, 304), num_heads=8)
_BASE = dict(depths=(3, 3, 9, 3), dims=(80, 160, 288, 584), num_heads=8)

ARCHS: dict[str, dict[str, Any]] = {
    'xx_small': _XX_SMALL,
    'x_small': _X_SMALL,
    'small': _SMALL,
    'base': _BASE,
    'xx_small_bn_hs': dict(_XX_SMALL, bn_hs=True),
    'x_small_bn_hs': dict(_X_SMALL, bn_hs=True),
    'small_bn_hs': dict(_SMALL, bn_hs=True),
    'small_rw': dict(_SMALL, dims=(48, 96, 192, 384), overlap=True),
}
"""The published networks: those of the paper (table 1), ``_bn_hs`` ones of the reference
repository, and ``small_rw`` of timm.
"""

NUM_STAGES = 4
MIN_SIZE = 32
"""Sides under this number of pixels leave nothing for the last stage to see."""
_FOLDED = re.compile(r'\.(pwconv\d|qkv|proj|norm|norm_xca)$|^downsample_layers\.(0\.0|[123]\.\d)$')


# mmdet and mmseg look in mmengine's registry for a type without a scope that they lack.
@MMENGINE_MODELS.register_module()
@MODELS.register_module()
class EdgeNeXt(PretrainedModule):
    """EdgeNeXt, a small CNN-transformer backbone with split depth-wise transpose attention.

    The names of its parameters are those of the reference implementation.

    Args:
        arch: a name of :data:`ARCHS`, or a dict with the keys ``depths`` and ``dims`` (four ints
            each: blocks and channels per stage), ``num_heads`` (int) and optionally ``bn_hs``
            (bool: BatchNorm and Hardswish in the place of LayerNorm and GELU, and the structure of
            the ``_bn_hs`` networks) and ``overlap`` (bool: a 9x9 stem and strided depth-wise
            convolutions, whose windows overlap, in the place of patches that do not; no
            convolution has a bias).
        in_channels: channels of the image.
        out_indices: the stages, 0 to 3 in ascending order, whose maps are emitted. Stages after
            the last of them are not built. Defaults to all.
        output_stride: 32, or 16 or 8 to keep the last one or two stages at that stride with
            dilated convolutions. Parameters stay the same.
        drop_path_rate: stochastic depth of the last block of the fourth stage; it grows linearly
            from 0 at the first block. The paper has 0.1 for small and base.
        layer_scale_init_value: initial layer scale; 0 leaves layer scale out.
        frozen_stages: 0 freezes the stem, n the stem and the first n stages; -1 nothing. What is
            frozen also stays in evaluation mode.
        norm_eval: keep BatchNorm statistics while training.
        with_cp: recompute blocks in the backward pass to save memory. BatchNorm then updates its
            statistics twice per step.
        out_norm: add a norm for each emitted map, for necks without one of their own.
        position_stages: the stages, of 1 to 3, whose SDTA encoders add a position encoding. The
            published networks have it in stage 1; its authors recommend it in all for tasks in
            which the place matters (the reference's issue 9). In other stages they start from
            zero, and change nothing yet, where weights are loaded that have none there.
        init_cfg: defaults to the paper's initialisation, truncated normal of std 0.02 and zero
            biases. ``dict(type='Pretrained', checkpoint=...)`` loads a file, a URL or a short name
            such as 'edgenext://small', all weights of the network or none; with
            ``adapt_stem=True`` also into a network for images of another number of channels
            (:func:`edgenext_mm.checkpoint.load_pretrained`).

    Raises:
        InputError: if an argument is not one of those above.

    Example:
        >>> backbone = EdgeNeXt('xx_small', out_indices=(2, 3)).eval()
        >>> [tuple(x.shape) for x in backbone(torch.zeros(1, 3, 320, 320))]
        [(1, 88, 20, 20), (1, 168, 10, 10)]
    """

    archs = ARCHS
    keeps_initial_weights = False
    kernel_sizes = (3, 5, 7, 9)
    sdta_scales = (0, 2, 3, 4)
    """Channel groups of the SDTA encoder that ends the stage; 0 for a stage without one."""

    def __init__(
        self,
        arch: str | dict[str, Any] = 'xx_small',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        output_stride: int = 32,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        out_norm: bool = False,
        position_stages: Sequence[int] = (1,),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        init_cfg = init_cfg or dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02)
        super().__init__(init_cfg)
        settings = _check_arch(arch)
        out_indices = tuple(out_indices)
        if not out_indices or out_indices != tuple(
            i for i in range(NUM_STAGES) if i in out_indices
        ):
            raise InputError(
                f'out_indices are stages from 0 to {NUM_STAGES - 1} in ascending order, '
                f'not {out_indices!r}'
            )
        if output_stride not in (8, 16, 32):
            raise InputError(f'output_stride is 8, 16 or 32, not {output_stride!r}')
        if frozen_stages not in range(-1, NUM_STAGES + 1):
            raise InputError(f'frozen_stages is -1 to {NUM_STAGES}, not {frozen_stages!r}')
        with_attention = [i for i, scales in enumerate(self.sdta_scales) if scales]
        if not set(position_stages) <= set(with_attention):
            raise InputError(f'position_stages are of {with_attention}, not {position_stages!r}')
        self.in_channels = in_channels
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.deployed = False

        depths, dims = settings['depths'], settings['dims']
        built = out_indices[-1] + 1
        self.depths = tuple(depths[:built])
        bn_hs, overlap = settings.get('bn_hs', False), settings.get('overlap', False)
        bias = not bn_hs and not overlap
        norm = nn.BatchNorm2d if bn_hs else LayerNorm2d
        layers = dict(norm=norm, act=nn.Hardswish if bn_hs else nn.GELU)
        drop_paths = iter(np.linspace(0, drop_path_rate, sum(depths)).tolist())

        kernel_size, padding = (9, 4) if overlap else (4, 0)
        stem = nn.Conv2d(in_channels, dims[0], kernel_size, 4, padding, bias=bias)
        self.downsample_layers = nn.ModuleList([nn.Sequential(stem, norm(dims[0]))])
        self.stages = nn.ModuleList()
        stride, dilation = 4, 1
        for i, (depth, dim) in enumerate(zip(depths[:built], dims[:built], strict=True)):
            first: dict[str, int] = {}  # what is particular to the convolution of the first block
            if i > 0:
                step = 2 if stride < output_stride else 1
                downsample: nn.Module = nn.Identity()
                if overlap:
                    first = dict(in_dim=dims[i - 1], stride=step, dilation=dilation)
                else:
                    conv = Downsample(dims[i - 1], dim, step, dilation, bias=bias)
                    downsample = nn.Sequential(norm(dims[i - 1]), conv)
                self.downsample_layers.append(downsample)
                stride, dilation = stride * step, dilation * 2 // step
            blocks: list[nn.Module] = []
            for j in range(depth):
                mlp = dict(layers, layer_scale=layer_scale_init_value, drop_path=next(drop_paths))
                if self.sdta_scales[i] and j == depth - 1:
                    dwconv = partial(depthwise, kernel_size=3, dilation=dilation, bias=not overlap)
                    heads, position = settings['num_heads'], i in position_stages
                    blocks.append(
                        SDTAEncoder(dim, self.sdta_scales[i], heads, dwconv, position, **mlp)
                    )
                else:
                    own = dict(dilation=dilation) | (first if j == 0 else {})
                    blocks.append(
                        ConvEncoder(depthwise(dim, self.kernel_sizes[i], bias=bias, **own), **mlp)
                    )
            self.stages.append(Stage(*blocks, with_cp=with_cp))
        self.out_norms = (
            nn.ModuleDict({str(i): norm(dims[i]) for i in out_indices}) if out_norm else None
        )
        self._freeze()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the maps of the stages in ``out_indices``.

        Args:
            x: images, (N, in_channels, H, W); H and W at least 32.

        Returns:
            (N, dims[i], H / s, W / s) per stage, rounded down (with ``overlap``, up), where s is 4,
            8, 16 and 32 or ``output_stride`` if that is less; in channels-last memory.

        Raises:
            InputError: if images are smaller than 32 pixels or of another shape.
        """
        if not is_captured(x):
            _check_images(self.in_channels, x.shape)
        if not is_captured(x) or compiles():
            x = x.contiguous(memory_format=torch.channels_last)  # for speed alone
        outs = []
        parts = zip(self.downsample_layers, self.stages, strict=True)
        for i, (downsample, stage) in enumerate(parts):
            x = downsample(x)
            x = stage(x)
            if i in self.out_indices:
                outs.append(self.out_norms[str(i)](x) if self.out_norms is not None else x)
        return tuple(outs)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Find the layer of a parameter, for learning rates that decay from layer to layer.

        The first layer is the stem, and each block is one more. A downsampling belongs to the block
        after it, an output norm to the block before it. The last layer is what is not of this
        backbone, such as necks and heads. The convention is that of mmpretrain's backbones.

        Args:
            param_name: the name of the parameter.
            prefix: what names of parameters of the backbone begin with, such as ``backbone.``.
                Defaults to nothing.

        Returns:
            The number of the layer, from 0, and the number of layers.

        Example:
            >>> backbone = EdgeNeXt('xx_small')
            >>> backbone.get_layer_depth('stages.1.0.norm.weight')
            (3, 14)
            >>> backbone.get_layer_depth('head.fc.bias', prefix='backbone.')
            (13, 14)
        """
        num_layers = sum(self.depths) + 2
        pattern = r'(downsample_layers|stages|out_norms)\.(\d+)(?:\.(\d+))?'
        found = re.match(re.escape(prefix) + pattern, param_name)
        if found is None:
            return num_layers - 1, num_layers
        part, stage = found[1], int(found[2])
        first = 1 + sum(self.depths[:stage])
        if part == 'stages':
            return first + int(found[3]), num_layers
        if part == 'out_norms':
            return first + self.depths[stage] - 1, num_layers
        return first if stage > 0 else 0, num_layers

    def switch_to_deploy(self) -> None:
        """Take the form that infers fastest, in place; a second time changes nothing.

        Layer scales, what norms do to single channels, and BatchNorms go into the layers beside
        them. The state dict then has other keys; it can be loaded into a backbone that has been
        switched as well.

        Raises:
            InputError: if the backbone is in training mode, or if one of these layers has a hook,
                or is pruned, reparametrized or replaced.
        """
        if self.training:
            raise InputError('switch_to_deploy is for inference: call eval() on the model first')
        if self.deployed:
            return
        layers = filter(lambda named: _FOLDED.search(named[0]), self.named_modules())
        norms = LayerNorm2d, nn.BatchNorm2d, nn.SyncBatchNorm
        check_folded(layers, Pointwise, nn.Conv2d, Downsample, *norms)
        self.deployed = True
        fuse_conv_bn(self.downsample_layers[0])
        for downsample in self.downsample_layers[1:]:
            # Dilated ones pad the map with zeros, after the norm.
            if isinstance(downsample, nn.Sequential) and downsample[1].stride != (1, 1):
                downsample[0] = fold_norm(*downsample)
        for module in self.modules():
            if isinstance(module, (ConvEncoder, SDTAEncoder)):
                module.fold()
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> 'EdgeNeXt':
        """Set the mode; what ``frozen_stages`` and ``norm_eval`` hold stays in evaluation mode.

        Raises:
            InputError: if training is to begin after :meth:`switch_to_deploy`.
        """
        if mode and self.deployed:
            raise InputError(
                'EdgeNeXt cannot train after switch_to_deploy: build the model again, or switch a '
                'copy of it'
            )
        super().train(mode)
        self._freeze()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self):
        if (n := self.frozen_stages) >= 0:
            for module in (*self.downsample_layers[: max(n, 1)], *self.stages[:n]):
                module.eval().requires_grad_(False)


def _check_images(in_channels: int, shape: torch.Size) -> None:
    if len(shape) != 4 or shape[1] != in_channels:
        raise InputError(
            f'EdgeNeXt has in_channels={in_channels} and got images of shape {(*shape,)}, not '
            f'(N, {in_channels}, H, W): set model.backbone.in_channels, or color_type of '
            'LoadImageFromFile and mean and std of the data_preprocessor'
        )
    height, width = shape[2:]
    if min(height, width) < MIN_SIZE:
        raise InputError(
            f'EdgeNeXt needs images of at least {MIN_SIZE}x{MIN_SIZE} pixels and got '
            f'{height}x{width} (height x width): resize or pad them first'
        )


def _check_arch(arch):
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise InputError(
                f'unknown EdgeNeXt arch {arch!r}: choose one of {", ".join(ARCHS)}, '
                'or give a dict with depths, dims and num_heads'
            )
        return ARCHS[arch]
    required, optional = {'depths', 'dims', 'num_heads'}, {'bn_hs', 'overlap'}
    if not required <= set(arch) <= required | optional:
        raise InputError(
            f'a custom EdgeNeXt arch has the keys {sorted(required)} and optionally '
            f'{sorted(optional)}; got {sorted(arch)}'
        )
    if not len(arch['depths']) == len(arch['dims']) == NUM_STAGES:
        raise InputError(f'a custom EdgeNeXt arch has {NUM_STAGES} depths and dims; got {arch}')
    if any(dim % arch['num_heads'] for dim in arch['dims'][1:]):
        raise InputError(f'dims of stages with attention are multiples of num_heads; got {arch}')
    if arch.get('overlap') and (
        min(arch['depths'][1:]) < 2 or any(b % a for a, b in pairwise(arch['dims']))
    ):
        raise InputError(
            'with overlap, dims are multiples of those before them and depths after the first at '
            f'least 2; got {arch}'
        )
    return arch
