import pickle

import numpy as np
import pytest
from mmdet.datasets import MultiImageMixDataset
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    DefaultSampler,
    RepeatDataset,
)
from mmengine.dataset import ConcatDataset as MMConcatDataset
from mmengine.dataset import sampler as mmengine_sampler
from mmpretrain.datasets import KFoldDataset
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from edgenext_mm.datasets.image_size import image_size
from edgenext_mm.engine import MultiScaleBatchSampler
from edgenext_mm.errors import InputError

SIZES = (160, 192, 224, 256, 288, 320)


def batches(monkeypatch, samples, batch_size, epoch, seed=5, rank=0, ranks=1):
    monkeypatch.setattr(mmengine_sampler, 'get_dist_info', lambda: (rank, ranks))
    sampler = DefaultSampler(range(samples), seed=seed)
    sampler.set_epoch(epoch)
    batch_sampler = MultiScaleBatchSampler(sampler, batch_size)
    result = list(batch_sampler)
    assert len(batch_sampler) == len(result)
    return result


@pytest.mark.parametrize(('samples', 'batch_size'), [(5000, 16), (1001, 12), (40, 64)])
def test_epoch_of_three_processes(monkeypatch, samples, batch_size):
    orders = []
    for epoch in range(2):
        ranks = [
            batches(monkeypatch, samples, batch_size, epoch, rank=rank, ranks=3)
            for rank in range(3)
        ]
        assert {int(i) for rank in ranks for batch in rank for i in batch} == set(range(samples))
        sizes = [[batch.size for batch in rank] for rank in ranks]
        assert sizes[0] == sizes[1] == sizes[2]
        for batch in (batch for rank in ranks for batch in rank):
            pixels = len(batch) * batch.size**2
            assert pixels == pytest.approx(batch_size * 256**2, rel=0.15)
        orders.append(sizes[0])
    assert sorted(orders[0]) == sorted(orders[1])
    if samples == 5000:
        assert set(orders[0]) == set(SIZES) and orders[0] != orders[1]
        assert max(map(orders[0].count, SIZES[:3])) == min(map(orders[0].count, SIZES[4:]))


def test_depends_on_seed_and_epoch_alone(monkeypatch):
    one = batches(monkeypatch, 999, 8, epoch=1)
    assert one == batches(monkeypatch, 999, 8, epoch=1)
    assert [b.size for b in one] == [b.size for b in batches(monkeypatch, 999, 8, epoch=1)]
    assert one != batches(monkeypatch, 999, 8, epoch=2)
    assert one != batches(monkeypatch, 999, 8, epoch=1, seed=6)


class Echo(Dataset):
    def __len__(self):
        return 300

    def __getitem__(self, index):
        return index, image_size()


class Images(BaseDataset):
    """Of whose samples each third cannot be used: mmengine draws others in their place."""

    def __init__(self):
        super().__init__(pipeline=[self.read])

    def load_data_list(self):
        return [dict(number=number) for number in range(60)]

    def get_cat_ids(self, index):
        return [index % 7]

    def read(self, info):
        return (info['number'], image_size()) if info['number'] % 3 else None


WRAPPERS = {
    'none': lambda: Images(),
    'concatenated': lambda: MMConcatDataset([Images(), Images()]),
    'repeated': lambda: RepeatDataset(Images(), 2),
    'balanced': lambda: ClassBalancedDataset(Images(), 0.5),
    'fold': lambda: KFoldDataset(dict(type=Images), num_splits=3),
    'mixed': lambda: MultiImageMixDataset(Images(), pipeline=[]),
    'subset': lambda: Subset(Images(), np.arange(40)),
    'torch': lambda: ConcatDataset([RepeatDataset(Images(), 2), Subset(Images(), range(40))]),
    'echo': lambda: Echo(),
}


@pytest.mark.slow
@pytest.mark.parametrize('wrapper', WRAPPERS)
@pytest.mark.parametrize('num_workers', [0, 2])
def test_sizes_reach_transforms(wrapper, num_workers):
    """In this process and in workers, whatever datasets around them do with an index."""
    dataset = WRAPPERS[wrapper]()
    sampler = MultiScaleBatchSampler(DefaultSampler(dataset, seed=3), 8, sizes=(192, 256, 320))
    expected = [[batch.size] * len(batch) for batch in sampler]
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=num_workers, collate_fn=list)
    found = [[size for _, size in batch] for batch in loader]
    assert found == expected and len({*map(tuple, found)}) >= 3
    assert image_size() is None


def test_size_ends_with_its_batch():
    """Also where an image cannot be read, and where PyTorch makes another list of the batch."""

    class Broken(Echo):
        def __getitem__(self, index):
            assert image_size() == 256
            raise OSError

    batches = [*MultiScaleBatchSampler(DefaultSampler(Echo()), 8, sizes=(256,))]
    with pytest.raises(OSError):
        next(iter(DataLoader(Broken(), batch_sampler=batches)))
    twice = Subset(Subset(Echo(), range(300)), range(300))
    (first, *_) = DataLoader(twice, batch_sampler=batches, collate_fn=list)
    assert {size for _, size in first} == {None} and image_size() is None
    copied = pickle.loads(pickle.dumps(batches[0]))  # for workers
    assert copied == batches[0] and copied.size == 256


def test_refuses_batches_of_other_pixels():
    with pytest.raises(InputError, match='cannot be one of 1 images of 160 pixels'):
        MultiScaleBatchSampler(DefaultSampler(Echo()), 1, base_size=128)
