import copy

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dataset import sampler as mmengine_sampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from edgenext_mm.engine import MultiScaleBatchSampler
from edgenext_mm.engine.samplers import SizedIndex
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
        sizes = [[{index.size for index in batch} for batch in rank] for rank in ranks]
        assert sizes[0] == sizes[1] == sizes[2] and all(len(size) == 1 for size in sizes[0])
        for batch in (batch for rank in ranks for batch in rank):
            pixels = len(batch) * batch[0].size ** 2
            assert pixels == pytest.approx(batch_size * 256**2, rel=0.15)
        orders.append([size for (size,) in sizes[0]])
    assert sorted(orders[0]) == sorted(orders[1])
    if samples == 5000:
        assert set(orders[0]) == set(SIZES) and orders[0] != orders[1]
        assert max(map(orders[0].count, SIZES[:3])) == min(map(orders[0].count, SIZES[4:]))


def test_depends_on_seed_and_epoch_alone(monkeypatch):
    one = batches(monkeypatch, 999, 8, epoch=1)
    assert one == batches(monkeypatch, 999, 8, epoch=1)
    assert [b[0].size for b in one] == [b[0].size for b in batches(monkeypatch, 999, 8, epoch=1)]
    assert one != batches(monkeypatch, 999, 8, epoch=2)
    assert one != batches(monkeypatch, 999, 8, epoch=1, seed=6)


class Echo(Dataset):
    def __len__(self):
        return 300

    def __getitem__(self, index):
        return index, index.size


def test_sizes_reach_workers(monkeypatch):
    sampler = MultiScaleBatchSampler(DefaultSampler(Echo(), seed=3), 8)
    expected = [[(int(i), i.size) for i in batch] for batch in sampler]
    loader = DataLoader(Echo(), batch_sampler=sampler, num_workers=2, collate_fn=list)
    assert [[(int(i), size) for i, size in batch] for batch in loader] == expected
    assert copy.deepcopy(next(iter(sampler))[0]).size in SIZES


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode):
        return {'loss': self.weight.sum()}


class Record(Hook):
    def __init__(self, stop_at=None):
        self.seen = []
        self.stop_at = stop_at

    def before_train_iter(self, runner, batch_idx, data_batch):
        if runner.iter == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append([int(i) for i in data_batch['inputs']])


def collate(batch):
    return {'inputs': [index for index, _ in batch]}


def train(work_dir, record, hooks=(), batch_size=8, by_epoch=False, interval=7, **kwargs):
    runner = Runner(
        Model(),
        str(work_dir),
        train_dataloader=dict(
            batch_size=batch_size,
            dataset=Echo(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(type='edgenext_mm.MultiScaleBatchSampler'),
            collate_fn=collate,
            num_workers=0,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=interval)
        ),
        custom_hooks=[dict(type='edgenext_mm.ResumeEpochHook'), record, *hooks],
        experiment_name=work_dir.name,
        **kwargs,
    )
    runner.train()
    return len(runner.train_dataloader)


def test_resumes_in_the_middle_of_an_epoch(tmp_path):
    whole = Record()
    steps = train(tmp_path / 'whole', whole, randomness=dict(seed=11))
    assert len(whole.seen) == 3 * steps
    half = Record(stop_at=steps + 12)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'half', half, randomness=dict(seed=11))
    done = (steps + 12) // 7 * 7
    rest = Record()
    train(tmp_path / 'half', rest, resume=True)  # with the seed of the checkpoint
    assert done % steps and rest.seen == whole.seen[done:]


class SaveBest(Hook):
    """Saves as CheckpointHook does with what validates best: between two epochs."""

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            runner.save_checkpoint(runner.work_dir, 'best.pth', meta=meta, by_epoch=False)


def test_resumes_from_the_best(tmp_path):
    whole = Record()
    steps = train(tmp_path / 'work', whole, [SaveBest()], randomness=dict(seed=11))
    rest = Record()
    train(tmp_path / 'work', rest, resume=True, load_from=str(tmp_path / 'work/best.pth'))
    assert rest.seen == whole.seen[steps:]


def test_resumes_with_other_batches(tmp_path):
    """At the end of an epoch; in the middle, there are no remaining batches to see."""
    half = Record(stop_at=45)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'work', half, interval=42)
    with pytest.raises(InputError, match='from the middle of an epoch of 30 batches'):
        train(tmp_path / 'work', Record(), resume=True, batch_size=16)

    half = Record(stop_at=45)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'other', half, by_epoch=True, interval=1)
    rest = Record()
    steps = train(tmp_path / 'other', rest, resume=True, batch_size=16)
    assert len(rest.seen) == 2 * steps < 2 * 30


def test_indices_through_wrappers():
    one = SizedIndex(13, 192)
    assert (one - 10, (one - 10).size, one % 5, (one % 5).size) == (3, 192, 3, 192)


def test_refuses_batches_of_other_pixels():
    with pytest.raises(InputError, match='cannot be one of 1 images of 160 pixels'):
        MultiScaleBatchSampler(DefaultSampler(Echo()), 1, base_size=128)
