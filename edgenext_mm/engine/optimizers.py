"""Optimizers."""

from functools import lru_cache

import torch

from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, fused into one operation where PyTorch can do that: on GPUs, and on CPUs
    from PyTorch 2.4 on.

    Args:
        params, kwargs: those of torch.optim.AdamW.
    """

    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        if 'fused' not in kwargs and 'foreach' not in kwargs:
            fused = all(_has_fused_form(p) for group in self.param_groups for p in group['params'])
            for group in self.param_groups:
                group['fused'] = fused


def _has_fused_form(parameter):
    return parameter.is_floating_point() and _device_has_fused_form(parameter.device)


@lru_cache
def _device_has_fused_form(device):
    weight = torch.zeros(1, device=device, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    try:
        torch.optim.AdamW([weight], fused=True).step()
    except RuntimeError:
        return False
    return True
