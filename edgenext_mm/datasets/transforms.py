"""Transforms of images."""

from mmpretrain.datasets import RandomResizedCrop

from ..errors import InputError
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class MultiScaleRandomResizedCrop(RandomResizedCrop):
    """mmpretrain's RandomResizedCrop at the size that a MultiScaleBatchSampler wants.

    Args:
        backend (str): what resizes the crop. Defaults to 'pillow', which filters what it shrinks.
        kwargs: the other arguments of RandomResizedCrop but ``scale``.

    Raises:
        InputError: in use, if the samples come from another batch sampler.
    """

    def __init__(self, backend='pillow', **kwargs):
        super().__init__(scale=1, backend=backend, **kwargs)

    def transform(self, results):
        size = getattr(results['sample_idx'], 'size', None)
        if size is None:
            raise InputError(
                'MultiScaleRandomResizedCrop needs batch_sampler=dict('
                "type='edgenext_mm.MultiScaleBatchSampler') in the dataloader; without one, take "
                'RandomResizedCrop'
            )
        self.scale = (size, size)
        return super().transform(results)
