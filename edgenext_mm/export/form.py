"""The form of EdgeNeXt that other runtimes take, made from its inference form.

It differs where a runtime cannot do, or does slowly, what is best in PyTorch:

- 1x1 layers are convolutions of the map. PyTorch has its fastest product in nn.Linear, on tokens;
  elsewhere each step from a map to tokens is a transposition.
- Attention is computed on the map as well, and divides by the norms of queries and keys after
  their product, which is smaller than they are.
- The position encoding of images of one size is a constant. For those of any size it is projected
  along each axis before the sum, which is cheaper; OpenVINO fails with the convolution.
- LayerNorm is written in means where a runtime has no fused one that reads maps.
- GELU goes by tanh where values are of eight bits, and so GELU is a large part of the time.
- The last layers of heads are nn.Linear where a runtime has products of eight bits that return
  float32 for those alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn as nn

from ..deploy.switch import switch_to_deploy
from ..models.blocks import (
    ConvEncoder,
    CrossCovarianceAttention,
    FourierPositionEncoding,
    SDTAEncoder,
    sines,
)
from ..models.edgenext import EdgeNeXt
from ..models.ops import LayerNorm2d, to_map, to_tokens


def export_form(
    model: nn.Module,
    size: Sequence[int] | None = None,
    linear: bool = False,
    norm_in_means: bool = False,
    tanh_gelu: bool = False,
    linear_heads: bool = False,
) -> nn.Module:
    """Return a copy of a model in its export form.

    Args:
        model: detector, segmentor, classifier or backbone, in evaluation mode.
        size: height and width of the images in pixels. Defaults to any.
        linear: keep 1x1 layers as nn.Linear on tokens, for runtimes that have only those fast.
            Defaults to False.
        norm_in_means: write LayerNorm in means and squares. Defaults to False.
        tanh_gelu: compute GELU by tanh in the place of erf, which is up to 5e-4 off, much less than
            a step of eight bits. Defaults to False.
        linear_heads: have the last 1x1 convolutions of heads as nn.Linear on tokens. Defaults to
            False.

    Returns:
        The copy. Its outputs are those of the model but for rounding.

    Raises:
        InputError: if the model is in training mode.

    Example:
        >>> backbone = EdgeNeXt('xx_small').eval()
        >>> image = torch.rand(1, 3, 64, 96)
        >>> for x, y in zip(backbone(image), export_form(backbone, (64, 96))(image), strict=True):
        ...     torch.testing.assert_close(x, y, rtol=0, atol=1e-5)
    """
    model = switch_to_deploy(model, inplace=False)
    for module in [*model.modules()]:
        if isinstance(module, EdgeNeXt) and size is not None:
            _fix_positions(module, size)
        if isinstance(module, SDTAEncoder) and size is None and module.pos_embd is not None:
            module.pos_embd = AxisPositions(module.pos_embd)  # type: ignore[assignment]
        if isinstance(module, (ConvEncoder, SDTAEncoder)) and not linear:
            module.to_tokens = module.to_map = _unchanged  # type: ignore[assignment]
            module.pwconv1 = as_convolution(module.pwconv1)  # type: ignore[assignment]
            module.pwconv2 = as_convolution(module.pwconv2)  # type: ignore[assignment]
            if isinstance(module, SDTAEncoder):
                module.xca = MapAttention(module.xca)  # type: ignore[assignment]
        if norm_in_means:
            for name, child in module.named_children():
                if isinstance(child, LayerNorm2d):
                    setattr(module, name, NormInMeans(child))
        if tanh_gelu:
            for name, child in module.named_children():
                if isinstance(child, nn.GELU):
                    setattr(module, name, nn.GELU('tanh'))
    if linear_heads:
        for parent, name in _last_of_heads(model):
            layer = parent.get_submodule(name)
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
                setattr(parent, name, LinearOnMap(layer))
    return model


def _last_of_heads(model: Any) -> Iterator[tuple[nn.Module, str]]:
    """Return what holds the layers that predict, and their names in it."""
    if hasattr(model, 'bbox_head'):
        for kind in ('cls_convs', 'reg_convs'):
            for layers in getattr(model.bbox_head, kind, ()):
                if isinstance(layers, nn.Sequential):
                    yield layers, str(len(layers) - 1)
    if isinstance(getattr(getattr(model, 'decode_head', None), 'conv_seg', None), nn.Conv2d):
        yield model.decode_head, 'conv_seg'


class LinearOnMap(nn.Linear):
    """A 1x1 convolution as a linear layer of tokens.

    Args:
        convolution: the convolution, whose weights it takes.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        bias = convolution.bias
        super().__init__(convolution.in_channels, convolution.out_channels, bias is not None)
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1), False)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach(), False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, out_features, H, W)."""
        return to_map(super().forward(to_tokens(x)))


class MapAttention(nn.Module):
    """:class:`~edgenext_mm.models.blocks.CrossCovarianceAttention` of maps (N, C, H, W).

    Args:
        xca: the attention, whose weights it takes.
    """

    def __init__(self, xca: CrossCovarianceAttention) -> None:
        super().__init__()
        self.num_heads = xca.num_heads
        self.temperature = xca.temperature
        self.qkv = as_convolution(xca.qkv)
        self.proj = as_convolution(xca.proj)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape."""
        batch, dim, height, width = x.shape
        heads = self.qkv(x).reshape(batch, 3 * self.num_heads, -1, height * width)
        q, k, v = heads.chunk(3, dim=1)  # (N, heads, dim / heads, H * W) each
        norms = _norms(q) * _norms(k).transpose(-2, -1)
        attn = q @ k.transpose(-2, -1) * (self.temperature / norms)
        return self.proj((attn.softmax(dim=-1) @ v).reshape(batch, dim, height, width))


def _norms(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(dim=-1, keepdim=True).clamp(min=1e-24).sqrt()


class AxisPositions(nn.Module):
    """:class:`~edgenext_mm.models.blocks.FourierPositionEncoding` as the sum of its axes.

    Args:
        encoding: the encoding, whose weights it takes.
    """

    def __init__(self, encoding: FourierPositionEncoding) -> None:
        super().__init__()
        self.settings = encoding.hidden_dim, encoding.temperature
        projection = encoding.token_projection
        rows, columns = projection.weight.detach().flatten(1).t().chunk(2)
        self.rows, self.columns = nn.Parameter(rows, False), nn.Parameter(columns, False)
        assert projection.bias is not None
        self.bias = nn.Parameter(projection.bias.detach(), False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the encoding of a map of the size of ``x``, (1, dim, H, W)."""
        height, width = x.shape[2:]
        rows = sines(height, *self.settings, self.rows) @ self.rows + self.bias
        columns = sines(width, *self.settings, self.rows) @ self.columns
        return rows.t()[None, :, :, None] + columns.t()[None, :, None]


class NormInMeans(nn.Module):
    """LayerNorm over the channels of a map, in means.

    Args:
        norm: the norm, whose weights it takes.
    """

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        # Of those that are folded nothing but the division is left.
        self.is_folded = bool((norm.weight == 1).all() and (norm.bias == 0).all())
        self.weight = nn.Parameter(norm.weight.detach()[:, None, None], requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach()[:, None, None], requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = x - x.mean(dim=1, keepdim=True)
        x = x / (x.square().mean(dim=1, keepdim=True) + self.eps).sqrt()
        return x if self.is_folded else x * self.weight + self.bias


class Constant(nn.Module):
    """Returns a tensor, whatever it is called with."""

    value: torch.Tensor

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer('value', value)

    def forward(self, *args: object) -> torch.Tensor:
        """Return the tensor."""
        return self.value


def as_convolution(linear: nn.Linear) -> nn.Conv2d:
    """Return a linear layer of tokens as a 1x1 convolution of maps."""
    convolution = nn.Conv2d(linear.in_features, linear.out_features, 1)
    convolution.weight = nn.Parameter(linear.weight.detach()[:, :, None, None], False)
    convolution.bias = nn.Parameter(linear.bias.detach(), False)
    return convolution


@torch.no_grad()
def _fix_positions(backbone: EdgeNeXt, size: Sequence[int]) -> None:
    """Replace position encodings by what they return for images of one size."""
    values: dict[nn.Module, torch.Tensor] = {}
    encoders = [
        module
        for module in backbone.modules()
        if isinstance(module, SDTAEncoder) and module.pos_embd is not None
    ]
    handles = [
        encoder.get_submodule('pos_embd').register_forward_hook(
            lambda module, _, y: values.update({module: y})
        )
        for encoder in encoders
    ]
    weight = next(backbone.parameters())
    backbone(weight.new_zeros(1, backbone.in_channels, *size))
    for handle, encoder in zip(handles, encoders, strict=True):
        handle.remove()
        value = values[encoder.get_submodule('pos_embd')]
        encoder.pos_embd = Constant(value)  # type: ignore[assignment]


def _unchanged(tokens: torch.Tensor) -> torch.Tensor:
    return tokens
