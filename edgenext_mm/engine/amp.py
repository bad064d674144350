"""Automatic mixed precision on a CPU."""

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper

from ..errors import InputError
from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """What mmengine's AmpOptimWrapper is on a GPU: trains in bfloat16 and keeps float32 weights.

    bfloat16 has the range of float32, so the loss needs no scaling. It is faster than float32 on
    processors with AVX-512 BF16 or AMX.

    Args:
        dtype (str): 'bfloat16' or None, which mean the same.
        loss_scale: unused; for configs with AmpOptimWrapper.
        kwargs: the arguments of OptimWrapper.

    Raises:
        InputError: if ``dtype`` is another.
    """

    def __init__(self, dtype=None, loss_scale=None, **kwargs):
        if dtype not in (None, 'bfloat16'):
            raise InputError(
                f'mixed precision on a CPU is in bfloat16, not {dtype}: leave out '
                'optim_wrapper.dtype'
            )
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
