"""What the mm Runner is extended with."""

from .amp import CPUAmpOptimWrapper
from .backends import AtomicLocalBackend
from .hooks import (
    CompileHook,
    NumClassesCheckHook,
    PretrainedHook,
    ResumeEpochHook,
    SwitchToDeployHook,
)
from .samplers import MultiScaleBatchSampler

__all__ = [
    'AtomicLocalBackend',
    'CPUAmpOptimWrapper',
    'CompileHook',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
    'SwitchToDeployHook',
]
