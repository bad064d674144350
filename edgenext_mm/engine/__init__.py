"""What the mm Runner is extended with."""

from .amp import CPUAmpOptimWrapper
from .checkpoints import CheckpointHook
from .data import DataReportHook, SmallImageHook
from .finite import FiniteHook
from .hooks import (
    CompileHook,
    KeepMemoryHook,
    NumClassesCheckHook,
    PretrainedHook,
    SwitchToDeployHook,
)
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop
from .optimizers import AdamW, LayerDecayOptimWrapperConstructor
from .run_length import RunLengthCheckHook
from .runner import Runner
from .samplers import MultiScaleBatchSampler
from .schedulers import WarmupLR
from .sharding import ShardingHook

__all__ = [
    'AdamW',
    'CPUAmpOptimWrapper',
    'CheckpointHook',
    'CompileHook',
    'DataReportHook',
    'EpochBasedTrainLoop',
    'FiniteHook',
    'IterBasedTrainLoop',
    'KeepMemoryHook',
    'LayerDecayOptimWrapperConstructor',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'RunLengthCheckHook',
    'Runner',
    'ShardingHook',
    'SmallImageHook',
    'SwitchToDeployHook',
    'WarmupLR',
]
