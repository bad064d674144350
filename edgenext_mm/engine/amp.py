"""Automatic mixed precision on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn as nn
from mmengine.optim import OptimWrapper

from ..errors import InputError
from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """What mmengine's AmpOptimWrapper is on a GPU: trains in bfloat16 and keeps float32 weights.

    bfloat16 has the range of float32, so the loss needs no scaling. Processors with AVX-512 BF16 or
    AMX have instructions for it.

    Args:
        dtype: 'bfloat16' or None, which mean the same.
        loss_scale: unused; for configs with AmpOptimWrapper.
        kwargs: the arguments of OptimWrapper.

    Raises:
        InputError: if ``dtype`` is another.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> wrapper = CPUAmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=0.1))
        >>> with wrapper.optim_context(layer):
        ...     layer(torch.ones(1, 2)).dtype
        torch.bfloat16
    """

    def __init__(
        self,
        dtype: Literal['bfloat16'] | None = None,
        loss_scale: float | str | dict | None = None,
        **kwargs: Any,
    ) -> None:
        if dtype not in (None, 'bfloat16'):
            raise InputError(
                f'mixed precision on a CPU is in bfloat16, not {dtype}: leave out '
                'optim_wrapper.dtype'
            )
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Return a context for the forward pass: bfloat16 where autocast allows it."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
