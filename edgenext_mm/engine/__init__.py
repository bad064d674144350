"""What the mm Runner is extended with."""

from .amp import CPUAmpOptimWrapper
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
    'EpochBasedTrainLoop',
    'IterBasedTrainLoop',
    'KeepMemoryHook',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
    'RunLengthCheckHook',
    'Runner',
    'SwitchToDeployHook',
    'WarmupLR',
]
