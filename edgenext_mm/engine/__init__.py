"""What the mm Runner is extended with."""

from .backends import AtomicLocalBackend
from .hooks import NumClassesCheckHook, PretrainedHook, ResumeEpochHook, SwitchToDeployHook
from .samplers import MultiScaleBatchSampler

__all__ = [
    'AtomicLocalBackend',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
    'SwitchToDeployHook',
]
