"""What the mm Runner is extended with."""

from .amp import CPUAmpOptimWrapper
from .finite import FiniteHook
from .hooks import (
    CompileHook,
    KeepMemoryHook,
    NumClassesCheckHook,
    PretrainedHook,
    ResumeEpochHook,
    SwitchToDeployHook,
)
from .optimizers import AdamW
from .samplers import MultiScaleBatchSampler

__all__ = [
    'AdamW',
    'CPUAmpOptimWrapper',
    'CompileHook',
    'FiniteHook',
    'KeepMemoryHook',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
    'SwitchToDeployHook',
]
