"""The building blocks of EdgeNeXt (arXiv 2206.10589, section 3).

Maps and tokens are those of :mod:`~edgenext_mm.models.ops`.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch.utils.checkpoint import checkpoint

from .fold import fold_norm, fold_scale
from .ops import (
    Pointwise,
    behind_layer_scale,
    can_fuse,
    compiles_for_training,
    recomputed,
    to_map,
    to_tokens,
)

Layer = type[nn.Module]
PIECE = 2**21
"""Values of a block's widest tensor that inference has at a time, unless one image has more.

glibc gives tensors of more than 32 MiB back to the system at once, so that each costs new pages.
"""


class Downsample(nn.Conv2d):
    """A 2x2 convolution of stride 2, or its a-trous form, which keeps the size of the map.

    The a-trous form pads on the right and at the bottom, so that each output pixel sees the
    pixels that the strided form would have seen from its place.

    Args:
        in_dim: channels of the map.
        dim: channels of the result.
        stride: 2, or 1 for the a-trous form.
        dilation: how many times finer the input map is than in a network of output stride 32.
        bias: whether the convolution has a bias.
    """

    def __init__(
        self, in_dim: int, dim: int, stride: int = 2, dilation: int = 1, bias: bool = True
    ) -> None:
        super().__init__(in_dim, dim, 2, stride, dilation=dilation, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == (1, 1):
            x = F.pad(x, (0, self.dilation[1], 0, self.dilation[0]))
        return super().forward(x)


class FourierPositionEncoding(nn.Module):
    """Sines and cosines of the position, projected to the width of the map.

    Args:
        dim: channels of the map.
        hidden_dim: sines and cosines for each axis.
        temperature: the longest wavelength over the shortest.
    """

    def __init__(self, dim: int, hidden_dim: int = 32, temperature: float = 10000.0) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.temperature = temperature
        self.token_projection = nn.Conv2d(2 * hidden_dim, dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the encoding of a map like ``x``, (1, dim, H, W)."""
        height, width = x.shape[2:]
        rows = sines(height, self.hidden_dim, self.temperature, x)[:, None]
        columns = sines(width, self.hidden_dim, self.temperature, x)[None]
        tokens = torch.cat((rows.expand(-1, width, -1), columns.expand(height, -1, -1)), dim=-1)
        if compiles_for_training():  # see LayerNorm2d: Inductor fails with the convolution as well
            layer = self.token_projection
            tokens = F.linear(tokens.flatten(0, 1), layer.weight.flatten(1), layer.bias)
            return to_map(tokens.unflatten(0, (height, width))[None])
        return self.token_projection(to_map(tokens[None]))


@torch.fx.wrap  # which cannot trace torch.arange
def sines(size: int, hidden_dim: int, temperature: float, like: torch.Tensor) -> torch.Tensor:
    """Return the encoding of the positions of an axis, (size, hidden_dim), in the type of like."""
    position = torch.arange(1, size + 1, device=like.device, dtype=torch.float32)
    position = 2 * math.pi * position / (position[-1] + 1e-6)
    exponent = torch.arange(0, hidden_dim, 2, device=like.device) / hidden_dim
    angle = position[:, None] / temperature**exponent
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1).to(like.dtype)


class CrossCovarianceAttention(nn.Module):
    """Attention between channels, linear in the number of tokens (XCiT, arXiv 2106.09681).

    Args:
        dim: channels of the map, a multiple of ``num_heads``.
        num_heads: channels are split into this many groups that attend within themselves.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = Pointwise(dim, 3 * dim)
        self.proj = Pointwise(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map tokens (N, H, W, dim) to tokens of the same shape."""
        qkv = self.qkv(x).flatten(1, 2).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.transpose(1, 3).unbind(dim=2)  # (N, heads, H * W, dim / heads) each
        attn = _normalized(q).transpose(-2, -1) @ _normalized(k)
        attn = (attn * self.temperature).softmax(dim=-1)
        out = v @ attn.transpose(-2, -1)
        return self.proj(out.transpose(1, 2).reshape(x.shape))


@torch.fx.wrap  # which cannot trace a choice by type
def _normalized(x: torch.Tensor) -> torch.Tensor:
    """Divide (N, heads, H * W, channels) by the norms along the tokens, as F.normalize does.

    F.normalize goes over the tokens of one channel after the other, which takes longer than the sum
    of the squares: ``tools/benchmark_products.py`` prints both.
    """
    if x.dtype in (torch.float16, torch.bfloat16):  # which cannot hold the sums
        return _normalized(x.float()).to(x.dtype)
    return x / x.square().sum(dim=2, keepdim=True).clamp(min=1e-24).sqrt()


class _Encoder(nn.Module):
    """What both encoders end with: norm, Linear, activation, Linear, layer scale, drop path.

    Args:
        dim: channels of the map.
        norm: norm layer of a map.
        act: activation layer.
        layer_scale: initial value of the layer scale; 0 leaves it out.
        drop_path: probability of stochastic depth.
    """

    expansion = 4
    # How the linear layers see a map. In the export form they are convolutions and see it as it is.
    to_tokens = staticmethod(to_tokens)
    to_map = staticmethod(to_map)

    def __init__(
        self, dim: int, norm: Layer, act: Layer, layer_scale: float, drop_path: float
    ) -> None:
        super().__init__()
        self.gamma = nn.Parameter(layer_scale * torch.ones(dim)) if layer_scale > 0 else None
        self.norm = norm(dim)
        self.pwconv1 = Pointwise(dim, self.expansion * dim)
        self.act = act()
        self.pwconv2 = Pointwise(self.expansion * dim, dim)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def fold(self) -> None:
        """Take the inference form: what scales single channels goes into the linear layers."""
        self.norm = fold_norm(self.norm, self.pwconv1)
        fold_scale(self.pwconv2, self.gamma)
        self.gamma = None
        self.drop_path = nn.Identity()
        self.pwconv1.packs = self.pwconv2.packs = True

    def _mlp(self, x: torch.Tensor) -> torch.Tensor:
        if can_fuse(x, self.pwconv1, self.act, self.pwconv2):
            # All by one name, so that each is freed in turn: an image takes 5 MiB and not 7.
            x = self.to_tokens(self.norm(x))
            images = max(1, PIECE // (x.shape[1:].numel() * self.expansion))
            if images >= len(x) or not x.is_cpu:
                x = self.pwconv1(x, self.act)
                return self.pwconv2(x)
            y = torch.empty_like(x)
            for piece, out in zip(x.split(images), y.split(images), strict=True):
                out.copy_(self.pwconv2(self.pwconv1(piece, self.act)))
            return y
        with recomputed(self.norm, x) as x:
            x = self.pwconv1(self.to_tokens(x))
        with recomputed(self.act, x) as x:
            return self.pwconv2(x)

    def _add(
        self, shortcut: torch.Tensor, tokens: torch.Tensor, gamma: torch.Tensor | None
    ) -> torch.Tensor:
        """Add tokens, scaled by the layer scale, to a map."""
        x, y = self.to_tokens(shortcut), self.drop_path(tokens)
        return self.to_map(x + y if gamma is None else x.addcmul(gamma, y))


class ConvEncoder(_Encoder):
    """A large depth-wise convolution, then the channel MLP (paper, section 3.1).

    Args:
        dwconv: the convolution. If it changes the number of channels, the block starts a stage, and
            its shortcut starts after the convolution.
        kwargs: ``norm``, ``act``, ``layer_scale`` and ``drop_path`` of the MLP.
    """

    def __init__(self, dwconv: nn.Conv2d, **kwargs: Any) -> None:
        super().__init__(dwconv.out_channels, **kwargs)
        self.starts_stage = dwconv.in_channels != dwconv.out_channels
        self.dwconv = dwconv

    def _branch(self, x: torch.Tensor) -> torch.Tensor:
        return self._mlp(x if self.starts_stage else self.dwconv(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.starts_stage:
            x = self.dwconv(x)
        return self._add(x, behind_layer_scale(self._branch, x, self.gamma, self), self.gamma)


class SDTAEncoder(_Encoder):
    """Split depth-wise transpose attention, then the channel MLP (paper, section 3.1).

    Args:
        dim: channels of the map.
        scales: into how many groups the channels are split.
        num_heads: heads of the cross-covariance attention.
        dwconv: makes a depth-wise convolution for a number of channels.
        position: whether a position encoding is added to the tokens.
        kwargs: ``norm``, ``act``, ``layer_scale`` and ``drop_path`` of attention and MLP. With
            BatchNorm, as in the ``_bn_hs`` networks, the attention's shortcut starts after its
            norm, and with LayerNorm before it.
    """

    def __init__(
        self,
        dim: int,
        scales: int,
        num_heads: int,
        dwconv: Callable[[int], nn.Conv2d],
        position: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, **kwargs)
        width = math.ceil(dim / scales)
        self.widths = (width,) * (scales - 1) + (dim - width * (scales - 1),)
        self.convs = nn.ModuleList(dwconv(width) for width in self.widths[:-1])
        self.pos_embd = FourierPositionEncoding(dim) if position else None
        self.norm_xca = kwargs['norm'](dim)
        self.gamma_xca = copy.deepcopy(self.gamma)
        self.xca = CrossCovarianceAttention(dim, num_heads)
        self.normalized_shortcut = isinstance(self.norm_xca, nn.BatchNorm2d)

    def fold(self) -> None:
        super().fold()
        if not self.normalized_shortcut:
            self.norm_xca = fold_norm(self.norm_xca, self.xca.qkv)
        fold_scale(self.xca.proj, self.gamma_xca)
        self.gamma_xca = None
        self.xca.qkv.packs = self.xca.proj.packs = True

    def _multi_scale(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve the groups in a chain, each on top of the one before it."""
        groups = x.split(self.widths, dim=1)
        outs = [self.convs[0](groups[0])]
        for i, conv in enumerate(self.convs[1:], 1):
            outs.append(conv(groups[i] + outs[-1]))
        return torch.cat((*outs, groups[len(outs)]), dim=1)

    def _branch(self, x: torch.Tensor) -> torch.Tensor:
        x = self._multi_scale(x)
        if self.normalized_shortcut:
            x = self.norm_xca(x)
        if self.pos_embd is not None:
            x = x + self.pos_embd(x)
        tokens = behind_layer_scale(self._attend, x, self.gamma_xca, self.norm_xca, self.xca)
        return self._mlp(self._add(x, tokens, self.gamma_xca))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        return self.xca(self.to_tokens(x if self.normalized_shortcut else self.norm_xca(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._add(x, behind_layer_scale(self._branch, x, self.gamma, self), self.gamma)


class Stage(nn.Sequential):
    """The blocks of a stage.

    Args:
        blocks: the blocks.
        with_cp: recompute each block in the backward pass.
    """

    def __init__(self, *blocks: nn.Module, with_cp: bool = False) -> None:
        super().__init__(*blocks)
        self.with_cp = with_cp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self:
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


def depthwise(
    dim: int,
    kernel_size: int,
    dilation: int,
    bias: bool,
    in_dim: int | None = None,
    stride: int = 1,
) -> nn.Conv2d:
    """Make a depth-wise convolution that, at stride 1, keeps the size of the map."""
    padding, groups = dilation * (kernel_size // 2), in_dim or dim
    return nn.Conv2d(groups, dim, kernel_size, stride, padding, dilation, groups, bias)
