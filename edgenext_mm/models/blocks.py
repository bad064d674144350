"""The building blocks of EdgeNeXt (arXiv 2206.10589, section 3).

Maps are NCHW tensors that the blocks leave in channels-last memory: a map and its tokens
(N, H, W, C) are then views of one another, and changing between them copies nothing.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of an NCHW map, eps 1e-6."""

    def __init__(self, num_channels):
        super().__init__(num_channels, eps=1e-6)

    def forward(self, x):
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
        """Return the encoding of positions 1..size on one axis, shape (size, hidden_dim)."""
        position = torch.arange(1, size + 1, device=like.device, dtype=torch.float32)
        position = 2 * math.pi * position / (size + 1e-6)
        exponent = torch.arange(0, self.hidden_dim, 2, device=like.device) / self.hidden_dim
        angle = position[:, None] / self.temperature**exponent
        return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1).to(like.dtype)

    def forward(self, height, width):
        """Return the encoding of a map of this size, shape (1, dim, height, width)."""
        weight = self.token_projection.weight
        y = self._axis(height, weight)[:, None].expand(-1, width, -1)
        x = self._axis(width, weight)[None].expand(height, -1, -1)
        return self.token_projection(torch.cat((y, x), dim=2).permute(2, 0, 1)[None])


class CrossCovarianceAttention(nn.Module):
    """Attention between channels, linear in the number of tokens (XCiT, arXiv 2106.09681).

    Args:
        dim (int): channels of the tokens, a multiple of ``num_heads``.
        num_heads (int): channels are split into this many groups that attend within themselves.
    """

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        """Map tokens (B, N, dim) to tokens of the same shape."""
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 4, 1)  # each (B, heads, dim / heads, N)
        attn = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        attn = (attn * self.temperature).softmax(dim=-1)
        return self.proj((attn @ v).permute(0, 3, 1, 2).flatten(2))


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

    def _residual(self, x, gamma):
        return self.drop_path(x if gamma is None else gamma * x)

    def _mlp(self, x):
        x = self.norm(x).permute(0, 2, 3, 1)
        x = self.pwconv2(self.act(self.pwconv1(x)))
        return self._residual(x, self.gamma).permute(0, 3, 1, 2)


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
        return (y if self.starts_stage else x) + self._mlp(y)


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

    def _multi_scale(self, x):
        """Convolve the groups in a chain, each on top of the one before it."""
        *groups, last = x.split(self.widths, dim=1)
        outs = []
        for conv, group in zip(self.convs, groups, strict=True):
            outs.append(conv(group + outs[-1] if outs else group))
        return torch.cat((*outs, last), dim=1)

    def _attention(self, x):
        tokens = x.permute(0, 2, 3, 1)
        out = self.xca(tokens.flatten(1, 2)).view(tokens.shape)
        return self._residual(out, self.gamma_xca).permute(0, 3, 1, 2)

    def forward(self, x):
        y = self._multi_scale(x)
        if self.normalized_shortcut:
            y = self.norm_xca(y)
        if self.pos_embd is not None:
            y = y + self.pos_embd(*y.shape[2:])
        y = y + self._attention(y if self.normalized_shortcut else self.norm_xca(y))
        return x + self._mlp(y)


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
