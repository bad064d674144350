"""Optimizers."""

from functools import cache
from typing import Any

import torch

from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, in its fused form where PyTorch has one: on GPUs, and on CPUs from PyTorch
    2.4 on.

    Takes the arguments of torch.optim.AdamW. A group of parameters for which none of ``fused``,
    ``foreach`` and ``differentiable`` is set is fused if its devices and data types allow it. A run
    that resumes takes the form that its own device has, whatever the checkpoint's was.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> optimizer = AdamW(layer.parameters(), lr=1e-3)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as torch.optim.Optimizer does, also for the constructor."""
        super().add_param_group(param_group)
        # Here and not in the constructor, since what comes as an iterator, or with names, is a list
        # of tensors only now.
        group = self.param_groups[-1]
        chosen = (
            group['fused'] is not None or group['foreach'] is not None or group['differentiable']
        )
        if not chosen and all(_has_fused_form(p.device, p.dtype) for p in group['params']):
            group['fused'] = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, of this class or of torch.optim.AdamW."""
        groups = [
            dict(group, fused=own['fused'], foreach=own['foreach'])
            for group, own in zip(state_dict['param_groups'], self.param_groups, strict=False)
        ]
        groups += state_dict['param_groups'][len(groups) :]  # for PyTorch to complain about
        super().load_state_dict(dict(state_dict, param_groups=groups))


@cache
def _has_fused_form(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        weight = torch.zeros(1, device=device, dtype=dtype, requires_grad=True)
        weight.grad = torch.zeros_like(weight)
        torch.optim.AdamW([weight], fused=True).step()
    except RuntimeError:  # NotImplementedError, of devices without the kernel, is one
        return False
    return True
