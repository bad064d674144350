"""Schedules of the learning rate."""

from typing import Any

from mmengine.optim import LinearLR

from ..registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupLR(LinearLR):
    """mmengine's LinearLR over the first part of the run, however long that is.

    With ``by_epoch=False`` the warm-up is in iterations, also of runs by epochs.

    Args:
        optimizer: its learning rate rises.
        share: how much of the run is warm-up. Defaults to 0.05. It takes two steps at least.
        begin: first step. Defaults to 0.
        end: last step of the run. A Runner sets it.
        kwargs: the other arguments of LinearLR, such as ``start_factor``.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> warmup = WarmupLR(optimizer, end=40, start_factor=0.1, share=0.1, by_epoch=False)
        >>> for _ in range(5):
        ...     print(round(optimizer.param_groups[0]['lr'], 1))
        ...     warmup.step()
        0.1
        0.4
        0.7
        1.0
        1.0
    """

    def __init__(
        self, optimizer: Any, *, end: int, begin: int = 0, share: float = 0.05, **kwargs: Any
    ) -> None:
        # LinearLR is at its end in the last of these steps. With one it would stay at the start.
        steps = max(2, round(share * (end - begin)))
        super().__init__(optimizer, begin=begin, end=begin + steps, **kwargs)
