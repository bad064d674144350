"""Samplers."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import Sampler

from ..datasets.image_size import SizedBatch
from ..errors import InputError
from ..registry import DATA_SAMPLERS
from .randomness import seed_sample


@DATA_SAMPLERS.register_module()
class MultiScaleBatchSampler(Sampler[list[int]]):
    """Batches whose images differ in size from batch to batch, at equal numbers of pixels.

    As in MobileViT (arXiv 2110.02178, appendix B): the smaller the images, the more are in a batch.
    In an epoch each size has equally many batches, in a shuffled order that depends on the seed and
    the epoch. The samples that do not suffice for one batch more of each size come in batches of
    the base size. So all epochs have equally many batches. Where samples run out at the end, those
    from the beginning of the epoch come again. Processes have the same sizes in the same steps.

    Goes with :class:`~edgenext_mm.datasets.MultiScaleRandomResizedCrop`.

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
            if batch_size < 1 or abs(count * size**2 / (batch_size * base_size**2) - 1) > 0.15:
                raise InputError(
                    f'a batch of {batch_size} images of {base_size} pixels cannot be one of '
                    f'{count} images of {size} pixels, since their pixels differ too much: raise '
                    'batch_size, or choose other sizes of the batch_sampler'
                )

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
        begin = 0
        for size in self._sizes():
            end = begin + self.batch_sizes.get(size, self.batch_size)
            yield SizedBatch((indices[i % len(indices)] for i in range(begin, end)), size)
            begin = end


class SeededBatch(Sequence[int]):
    """The indices of a batch, each of whose samples has random numbers of its own.

    A DataLoader goes through the indices in the process, be it a worker, that loads the samples:
    before each, the generators are seeded by its place in the run. It is no list, since a list is
    gone through when it is sent to a worker, in a thread beside the training.

    Args:
        indices: of the samples.
        run: numbers for the run and the pass over the data, such as the seed and the epoch.
        places: of the samples in the pass.

    Example:
        >>> import random
        >>> batch = SeededBatch([3, 1], run=(0, 5), places=range(8, 10))
        >>> drawn = [(index, random.random()) for index in batch]
        >>> drawn == [(index, random.random()) for index in batch]
        True
    """

    def __init__(self, indices: Sequence[int], run: tuple[int, ...], places: range) -> None:
        self.indices = indices
        self.run = run
        self.places = places

    def __iter__(self) -> Iterator[int]:
        for index, place in zip(self.indices, self.places, strict=True):
            seed_sample(*self.run, place)
            yield index

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...

    def __getitem__(self, index: Any) -> Any:
        return self.indices[index]


class PlacedBatches(Sampler[SeededBatch]):
    """The batches of another batch sampler from any place of a run on, seeded by their place.

    What is before is gone through again, without loading it. So the order has to depend on seed and
    epoch alone, as that of mmengine's, mmdet's and mmpretrain's samplers does. Places are counted
    over all processes: a sample has the same random numbers however many share the work.

    Args:
        batch_sampler: of the batches of this process.

    Attributes:
        count: how many batches of the pass have been gone through, those left out as well.
    """

    def __init__(self, batch_sampler: Any) -> None:
        self.batch_sampler = batch_sampler
        self.seed = self.pass_number = self.begin = self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['batch_sampler'], name)  # such as ``sampler``

    def start(self, seed: int, pass_number: int, begin: int) -> None:
        """Choose where the next iteration begins.

        Args:
            seed: of the run.
            pass_number: of the pass over the data, such as the epoch.
            begin: how many batches of the pass to leave out.
        """
        self.seed, self.pass_number, self.begin = seed, pass_number, begin
        samplers: tuple[Any, Any] = self.batch_sampler, getattr(self.batch_sampler, 'sampler', None)
        for sampler in samplers:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(pass_number)
        # For samplers that draw from the generators of the process, such as PyTorch's.
        seed_sample(seed, pass_number)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[SeededBatch]:
        run, begin = (self.seed, self.pass_number), self.begin
        rank, ranks = get_rank(), get_world_size()
        place = self.count = 0
        for batch in self.batch_sampler:
            self.count += 1
            end = place + len(batch)
            if self.count > begin:
                places = range(place * ranks + rank, end * ranks + rank, ranks)
                yield SeededBatch(batch, run, places)
            place = end
