"""The building blocks of EdgeNeXt (arXiv 2206.10589, section 3).

Maps are NCHW tensors that the blocks leave in channels-last memory: a map and its tokens
(N, H, W, C) are then views of one another, and changing between them copies nothing.
"""

import math
from functools import lru_cache

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath

from .fold import fold_norm, fold_scale
from .ops import act_pointwise, add, is_compiling, pointwise


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of an NCHW map, eps 1e-6."""

    def __init__(self, num_channels):
        super().__init__(num_channels, eps=1e-6)

    def forward(self, x):
        if is_compiling():
            # In training with other image sizes, Inductor specializes on the size, or fails
            # (PyTorch issue 185510), if a four-dimensional view is what the backward pass needs.
            tokens = x.permute(0, 2, 3, 1).flatten(1, 2)
            tokens = F.layer_norm(tokens, self.normalized_shape, eps=self.eps)
            out = tokens.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
            return out.to(tokens.dtype)  # that of autocast
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Downsample(nn.Conv2d):
    """A 2x2 convolution of stride 2, or its a-trous form, which keeps the size of the map.

    The a-trous form pads on the right and at the bottom, so that each output pixel sees the
    pixels that the strided form would have seen from its place.

    Args:
        stride (int): 2, or 1 for the a-trous form.
        dilation (int): how many times finer the input map is than in a network of output stride 32.
    """

    def __init__(self, in_channels, out_channels, stride=2, dilation=1, bias=True):
        super().__init__(in_channels, out_channels, 2, stride, dilation=dilation, bias=bias)

    def forward(self, x):
        if self.stride == (1, 1):
            right, bottom = self.dilation[1], self.dilation[0]
            x = F.pad(x, (0, right, 0, bottom))
        return super().forward(x)


class FourierPositionEncoding(nn.Module):
    """Sines and cosines of the position, projected to the width of the map.

    Args:
        dim (int): channels of the map.
        hidden_dim (int): frequencies per axis times two. Defaults to 32.
        temperature (float): the longest wavelength over the shortest. Defaults to 10000.
    """

    def __init__(self, dim, hidden_dim=32, temperature=10000.0):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.temperature = temperature
        self.token_projection = nn.Conv2d(2 * hidden_dim, dim, 1)

    def _axis(self, size, like):
        """Return the encoding of positions 1..size on one axis, shape (hidden_dim, size)."""
        if is_compiling():
            return _sines(size, self.hidden_dim, self.temperature, like.device).to(like.dtype)
        return _cached_sines(size, self.hidden_dim, self.temperature, like.device, like.dtype)

    def forward(self, height, width):
        """Return the encoding of a map of this size, shape (1, dim, height, width)."""
        # The projection of (y, x) is the sum of what it makes of y and of x: one line for each.
        weight = self.token_projection.weight.flatten(1)
        to_y, to_x = weight.split(self.hidden_dim, dim=1)
        y = to_y @ self._axis(height, weight) + self.token_projection.bias[:, None]
        x = to_x @ self._axis(width, weight)
        # Added with the channels last, as the map has them.
        return (y.t()[:, None] + x.t()).permute(2, 0, 1)[None]


def _sines(size, hidden_dim, temperature, device):
    position = torch.arange(1, size + 1, device=device, dtype=torch.float32)
    position = 2 * math.pi * position / (size + 1e-6)
    exponent = torch.arange(0, hidden_dim, 2, device=device) / hidden_dim
    angle = position / temperature ** exponent[:, None]
    return torch.stack((angle.sin(), angle.cos()), dim=1).flatten(0, 1)


@lru_cache(maxsize=64)
def _cached_sines(size, hidden_dim, temperature, device, dtype):
    with torch.inference_mode(False), torch.no_grad():  # for use in training as well
        return _sines(size, hidden_dim, temperature, device).to(dtype)


class CrossCovarianceAttention(nn.Module):
    """Attention between channels, linear in the number of tokens (XCiT, arXiv 2106.09681).

    Args:
        dim (int): channels of the map, a multiple of ``num_heads``.
        num_heads (int): channels are split into this many groups that attend within themselves.
    """

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, gamma=None):
        """Map (N, dim, H, W) to a map of the same shape, scaled by gamma, both channels-last."""
        dim = x.shape[1]
        qk = pointwise(x, self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim])
        v = pointwise(x, self.qkv.weight[2 * dim :], self.qkv.bias[2 * dim :])
        qk = qk.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H * W, 2 * dim)
        if qk.dtype == torch.float16:  # in which sums over many tokens overflow
            qk = qk * qk.shape[1] ** -0.5
        # The norms of q and k go to the small attention matrix, not to all of their tokens.
        squares = qk.to(torch.promote_types(qk.dtype, torch.float32)).square()
        norms = squares.sum(dim=1).clamp(min=1e-24).sqrt()  # faster than vector_norm
        norms = norms.unflatten(1, (2, self.num_heads, -1))
        q, k = qk.unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attn = q.transpose(-2, -1) @ k  # (N, heads, dim / heads, dim / heads)
        scale = self.temperature / (norms[:, 0, :, :, None] * norms[:, 1, :, None])
        attn = (attn * scale).softmax(dim=-1).to(v.dtype)
        # So does the projection, which then maps the values at once.
        weight, bias = _scaled(self.proj, gamma)
        weight = weight.unflatten(1, (self.num_heads, -1)).transpose(0, 1) @ attn
        weight = weight.transpose(1, 2).flatten(2)  # (N, dim, dim)
        if len(x) == 1 and not torch.jit.is_tracing():  # a trace serves other batches too
            return pointwise(v, weight[0], bias)
        out = torch.baddbmm(bias, v.permute(0, 2, 3, 1).flatten(1, 2), weight.transpose(1, 2))
        return out.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def _scaled(linear, gamma):
    """Return weight and bias of a linear layer whose output is scaled, channel by channel."""
    if gamma is None:
        return linear.weight, linear.bias
    return gamma[:, None] * linear.weight, gamma * linear.bias


class _Encoder(nn.Module):
    """What both encoders end with: norm, Linear, activation, Linear, layer scale, drop path.

    Args:
        dim (int): channels of the map.
        norm (type): norm layer of a map.
        act (type): activation layer.
        layer_scale (float): initial value of the layer scale; 0 leaves it out.
        drop_path (float): probability of stochastic depth.
    """

    expansion = 4

    def __init__(self, dim, norm, act, layer_scale, drop_path):
        super().__init__()
        self.layer_scale = layer_scale
        self.gamma = self._new_gamma(dim)
        self.norm = norm(dim)
        self.pwconv1 = nn.Linear(dim, self.expansion * dim)
        self.act = act()
        self.pwconv2 = nn.Linear(self.expansion * dim, dim)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def _new_gamma(self, dim):
        if self.layer_scale > 0:
            return nn.Parameter(torch.full((dim,), float(self.layer_scale)))
        return None

    def fold(self):
        """Fold layer scale and what a norm does to single channels into the linear layers."""
        self.norm = fold_norm(self.norm, self.pwconv1)
        fold_scale(self.pwconv2, self.gamma)
        self.gamma = None
        self.drop_path = nn.Identity()

    def _mlp(self, x):
        x = pointwise(self.norm(x), self.pwconv1.weight, self.pwconv1.bias)
        x = act_pointwise(x, self.act, *_scaled(self.pwconv2, self.gamma))
        return self.drop_path(x)


class ConvEncoder(_Encoder):
    """A large depth-wise convolution, then the channel MLP (paper, section 3.1).

    Args:
        dim (int): channels of the map.
        kernel_size (int): of the depth-wise convolution.
        dilation (int): of the depth-wise convolution.
        bias (bool): whether the depth-wise convolution has a bias.
        in_dim (int): channels of the map that comes in. If they are not ``dim``, the block starts
            a stage, and its shortcut starts after the convolution. Defaults to ``dim``.
        stride (int): of the depth-wise convolution. Defaults to 1.
        kwargs: ``norm``, ``act``, ``layer_scale`` and ``drop_path`` of the MLP.
    """

    def __init__(self, dim, kernel_size, dilation, bias, in_dim=None, stride=1, **kwargs):
        super().__init__(dim, **kwargs)
        self.starts_stage = in_dim not in (None, dim)
        self.dwconv = _depthwise(in_dim or dim, dim, kernel_size, dilation, bias, stride)

    def forward(self, x):
        y = self.dwconv(x)
        return add(y if self.starts_stage else x, self._mlp(y))


class SDTAEncoder(_Encoder):
    """Split depth-wise transpose attention, then the channel MLP (paper, section 3.1).

    Args:
        dim (int): channels of the map.
        scales (int): into how many groups the channels are split.
        num_heads (int): heads of the cross-covariance attention.
        dilation (int): of the depth-wise 3x3 convolutions.
        bias (bool): whether these have biases.
        position (bool): whether a position encoding is added to the tokens.
        normalized_shortcut (bool): whether the attention's shortcut starts after its norm, as
            in the ``_bn_hs`` networks, or before it.
        kwargs: ``norm``, ``act``, ``layer_scale`` and ``drop_path`` of attention and MLP.
    """

    def __init__(
        self, dim, scales, num_heads, dilation, bias, position, normalized_shortcut, **kwargs
    ):
        super().__init__(dim, **kwargs)
        width = math.ceil(dim / scales)
        self.widths = (width,) * (scales - 1) + (dim - width * (scales - 1),)
        self.convs = nn.ModuleList(_depthwise(w, w, 3, dilation, bias) for w in self.widths[:-1])
        self.pos_embd = FourierPositionEncoding(dim) if position else None
        self.norm_xca = kwargs['norm'](dim)
        self.gamma_xca = self._new_gamma(dim)
        self.xca = CrossCovarianceAttention(dim, num_heads)
        self.normalized_shortcut = normalized_shortcut

    def fold(self):
        super().fold()
        if not self.normalized_shortcut:
            self.norm_xca = fold_norm(self.norm_xca, self.xca.qkv)
        fold_scale(self.xca.proj, self.gamma_xca)
        self.gamma_xca = None

    def _multi_scale(self, x):
        """Convolve the groups in a chain, each on top of the one before it."""
        *groups, last = x.split(self.widths, dim=1)
        outs = []
        for conv, group in zip(self.convs, groups, strict=True):
            outs.append(conv(group + outs[-1] if outs else group))
        return torch.cat((*outs, last), dim=1)

    def forward(self, x):
        y = self._multi_scale(x)
        if self.normalized_shortcut:
            y = self.norm_xca(y)
        if self.pos_embd is not None:
            y = y + self.pos_embd(*y.shape[2:])
        tokens = y if self.normalized_shortcut else self.norm_xca(y)
        y = add(y, self.drop_path(self.xca(tokens, self.gamma_xca)))
        return add(x, self._mlp(y))


def _depthwise(in_channels, out_channels, kernel_size, dilation, bias, stride=1):
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        groups=in_channels,
        bias=bias,
    )
