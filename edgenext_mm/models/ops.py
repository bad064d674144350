"""The operations in which the blocks spend their time."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


def pointwise(x, weight, bias):
    """Apply a linear layer to the channels of a map.

    On a CPU this is a convolution of oneDNN, which adds the bias on the way, and which uses
    AVX-512 on processors where MKL's matrix product, which is behind F.linear, does not.

    Args:
        x (Tensor): (N, C, H, W) in channels-last memory.
        weight (Tensor): (O, C).
        bias (Tensor): (O,).

    Returns:
        Tensor: (N, O, H, W) in channels-last memory.
    """
    if x.is_cpu:
        return F.conv2d(x, weight.view(*weight.shape, 1, 1), bias)
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


# PyTorch before 2.3 has it elsewhere.
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._dynamo.is_compiling


def _is_captured():
    """Tell whether a compiler or tracer takes down the operations."""
    return is_compiling() or torch.jit.is_tracing()


def act_pointwise(x, act, weight, bias):
    """Apply an activation to a map that nothing else needs, and then a linear layer.

    Args:
        x (Tensor): (N, C, H, W) in channels-last memory; overwritten where gradients are
            switched off.
        act (nn.Module): GELU or Hardswish.
        weight (Tensor): (O, C).
        bias (Tensor): (O,).

    Returns:
        Tensor: (N, O, H, W) in channels-last memory.
    """
    if _is_captured():
        return pointwise(act(x), weight, bias)
    if torch.is_grad_enabled():
        return _ActPointwise.apply(x, act, weight, bias)
    inplace = F.hardswish(x, inplace=True) if isinstance(act, nn.Hardswish) else _gelu_(x)
    return pointwise(inplace, weight, bias)


_gelu_ = torch.ops.aten.gelu_


class _ActPointwise(torch.autograd.Function):
    """Keeps the input alone for the backward pass, not what the activation makes of it.

    These two are the largest tensors of a block.
    """

    @staticmethod
    def forward(ctx, x, act, weight, bias):
        ctx.save_for_backward(x, weight)
        ctx.act = act
        return pointwise(act(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = ctx.act(x)
        # Without the forward pass, which autograd would want again.
        grad_y, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad.to(y.dtype),
            y.detach(),
            weight.to(y.dtype)[:, :, None, None],
            [len(weight)],
            *([1, 1], [0, 0], [1, 1], False, [0, 0], 1),
            ctx.needs_input_grad[:1] + ctx.needs_input_grad[2:],
        )
        (grad_x,) = torch.autograd.grad(y, x, grad_y) if grad_y is not None else (None,)
        if grad_weight is not None:
            grad_weight = grad_weight[:, :, 0, 0].to(weight.dtype)
        return (
            grad_x,
            None,
            grad_weight,
            grad_bias if grad_bias is None else grad_bias.to(weight.dtype),
        )


def add(x, y):
    """Return x + y; overwrites y, which nothing else needs, where gradients are switched off."""
    if torch.is_grad_enabled() or _is_captured() or y.dtype != torch.result_type(x, y):
        return x + y
    return y.add_(x)
