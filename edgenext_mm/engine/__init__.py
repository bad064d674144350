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
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop
from .optimizers import AdamW
from .run_length import RunLengthCheckHook
from .runner import Runner
from .samplers import MultiScaleBatchSampler
from .schedulers import WarmupLR

__all__ = [
    'AdamW',
    'CPUAmpOptimWrapper',
    'CompileHook',
    'DataReportHook',
    'EpochBasedTrainLoop',
    'FiniteHook',
    'IterBasedTrainLoop',
    'KeepMemoryHook',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
    'RunLengthCheckHook',
    'Runner',
    'SmallImageHook',
    'SwitchToDeployHook',
    'WarmupLR',
]
