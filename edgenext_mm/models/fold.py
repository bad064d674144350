"""Layers that take in what is before or after them, for a network that only infers."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn

from ..errors import InputError
from .ops import is_changed


def check_folded(layers: Iterable[tuple[str, nn.Module]], *kinds: type[nn.Module]) -> None:
    """Raise an InputError unless layers, with their names, do what layers of these kinds do."""
    forwards = [kind.forward for kind in kinds]
    for name, layer in layers:
        known = type(layer).forward in forwards and getattr(layer, 'weight', None) is not None
        if not known or is_changed(layer):
            raise InputError(
                f'{name} has a hook, or is pruned, reparametrized or replaced: undo that, or make '
                'it permanent, before switch_to_deploy'
            )


def fold_norm(norm: Any, layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """Move what a norm does to its channels, one by one, into the layer after it.

    Args:
        norm: nn.LayerNorm, or nn.BatchNorm2d in evaluation mode.
        layer: the layer, changed in place; without padding.

    Returns:
        What is left of the norm: LayerNorm that scales by 1 and shifts by 0, which PyTorch computes
        faster than without parameters; of BatchNorm, nothing.
    """
    if isinstance(norm, nn.LayerNorm):
        scale, shift = norm.weight, norm.bias
        norm.weight, norm.bias = _frozen(torch.ones_like(scale)), _frozen(torch.zeros_like(shift))
        left: nn.Module = norm
    else:
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - scale * norm.running_mean
        left = nn.Identity()
    per_input = (1, -1) + (1,) * (layer.weight.dim() - 2)
    bias = (layer.weight * shift.view(per_input)).flatten(1).sum(dim=1)
    layer.bias = _frozen(bias if layer.bias is None else layer.bias + bias)
    layer.weight = _frozen(layer.weight * scale.view(per_input))
    return left


def fold_scale(linear: nn.Linear, scale: torch.Tensor | None) -> None:
    """Multiply the output of a linear layer, channel by channel, in place; nothing if None."""
    if scale is not None:
        linear.weight = _frozen(scale[:, None] * linear.weight)
        linear.bias = _frozen(scale * linear.bias)


def _frozen(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
