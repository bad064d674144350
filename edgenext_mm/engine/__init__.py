"""What the mm Runner is extended with."""

from .backends import AtomicLocalBackend
from .hooks import NumClassesCheckHook, PretrainedHook, ResumeEpochHook
from .samplers import MultiScaleBatchSampler

__all__ = [
    'AtomicLocalBackend',
    'MultiScaleBatchSampler',
    'NumClassesCheckHook',
    'PretrainedHook',
    'ResumeEpochHook',
]
