"""Optimizers."""

from functools import lru_cache

import torch

from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, in its fused form where PyTorch has one: on GPUs, and on CPUs from PyTorch
    2.4 on.

    A run that resumes takes the form that its own device has, whatever the checkpoint's was.

    Args:
        params: parameters or groups of them, as for torch.optim.AdamW.
        fused (bool): defaults to whether all parameters are on such devices.
        kwargs: the other arguments of torch.optim.AdamW.
    """

    def __init__(self, params, fused=None, **kwargs):
        params = list(params)
        if fused is None and not kwargs.get('foreach'):
            fused = all(_has_fused_form(parameter.device) for parameter in _flat(params))
        super().__init__(params, fused=fused, **kwargs)

    def load_state_dict(self, state_dict):
        """Load a state, of this class or of torch.optim.AdamW."""
        groups = [
            dict(group, fused=own['fused'], foreach=own['foreach'])
            for group, own in zip(state_dict['param_groups'], self.param_groups, strict=False)
        ]
        groups += state_dict['param_groups'][len(groups) :]  # for PyTorch to complain about
        super().load_state_dict(dict(state_dict, param_groups=groups))


def _flat(params):
    for item in params:
        if isinstance(item, dict):
            item = item['params']
        yield from [item] if isinstance(item, torch.Tensor) else item


@lru_cache
def _has_fused_form(device):
    weight = torch.zeros(1, device=device, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    try:
        torch.optim.AdamW([weight], fused=True).step()
    except RuntimeError:
        return False
    return True
