"""Samplers."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.dataset import DefaultSampler
from torch.utils.data import Sampler

from ..datasets.image_size import SizedBatch
from ..errors import InputError
from ..registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class MultiScaleBatchSampler(Sampler[list[int]]):
    """Batches whose images differ in size from batch to batch, at equal numbers of pixels.

    As in MobileViT (arXiv 2110.02178, appendix B): the smaller the images, the more are in a batch.
    In an epoch each size has equally many batches, in a shuffled order that depends on the seed and
    the epoch. The samples that do not suffice for one batch more of each size come in batches of
    the base size. So all epochs have equally many batches. Where samples run out at the end, those
    from the beginning of the epoch come again. Processes have the same sizes in the same steps.

    Goes with :class:`~edgenext_mm.datasets.MultiScaleRandomResizedCrop`, and with
    :class:`~edgenext_mm.engine.ResumeEpochHook` for runs that go on in the middle of an epoch.

    Args:
        sampler: of the samples of this process, or another sampler with ``seed``, ``epoch`` and the
            same length in all processes.
        batch_size: images of the base size in a batch.
        base_size: sides of these images in pixels. Defaults to 256.
        sizes: sides of images in pixels. Defaults to 160 to 320 in steps of 32.

    Raises:
        InputError: if the pixels of a batch would differ by more than 15% from those of the base.

    Example:
        >>> from mmengine.dataset import DefaultSampler
        >>> sampler = DefaultSampler(range(100), seed=0)
        >>> batches = MultiScaleBatchSampler(sampler, 16, sizes=(128, 256))
        >>> [(len(batch), batch.size) for batch in batches]
        [(16, 256), (64, 128), (16, 256), (16, 256)]
    """

    def __init__(
        self,
        sampler: DefaultSampler,
        batch_size: int,
        base_size: int = 256,
        sizes: Sequence[int] = (160, 192, 224, 256, 288, 320),
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.base_size = base_size
        self.batch_sizes = {size: round(batch_size * (base_size / size) ** 2) for size in sizes}
        for size, count in self.batch_sizes.items():
            if abs(count * size**2 / (batch_size * base_size**2) - 1) > 0.15:
                raise InputError(
                    f'a batch of {batch_size} images of {base_size} pixels cannot be one of '
                    f'{count} images of {size} pixels, since their pixels differ too much: raise '
                    'batch_size, or choose other sizes of the batch_sampler'
                )
        self.done = 0  # batches of the next epoch to leave out

    def _sizes(self) -> list[int]:
        """Return the sizes of an epoch's batches in their order."""
        rounds, rest = divmod(len(self.sampler), sum(self.batch_sizes.values()))
        sizes = [*self.batch_sizes] * rounds
        sizes += [self.base_size] * math.ceil(rest / self.batch_size)
        rng = np.random.default_rng([self.sampler.seed, self.sampler.epoch])
        return rng.permutation(sizes).tolist()

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[SizedBatch]:
        indices = [*self.sampler]
        begin, done, self.done = 0, self.done, 0
        for step, size in enumerate(self._sizes()):
            end = begin + self.batch_sizes.get(size, self.batch_size)
            if step >= done:
                yield SizedBatch((indices[i % len(indices)] for i in range(begin, end)), size)
            begin = end
