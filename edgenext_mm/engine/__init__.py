"""What the mm Runner is extended with."""

from .amp import CPUAmpOptimWrapper
from .data import DataReportHook, SmallImageHook
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
    'DataReportHook',
    'FiniteHook',
    'KeepMemoryHook',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
    'SmallImageHook',
    'SwitchToDeployHook',
]
