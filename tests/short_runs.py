"""Runs that take no time, on numbers in the place of images."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from edgenext_mm.engine import Runner


class Numbers(Dataset):
    """Each sample is its number and a random one."""

    def __init__(self, length=60):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return index, torch.rand(()).item()


class Model(BaseModel):
    """A weight with a gradient that depends on what is seen, and on chance."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode):
        if mode == 'predict':
            return [self.weight.detach()]
        target = torch.tensor([number + drawn for number, drawn in inputs]).mean()
        return {'loss': (self.weight - target * torch.rand(())).square().sum()}


class Metric(BaseMetric):
    """Returns the weight as it is in the validation, and a score that gets better and better."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(acc=float(results[0]), top=MessageHub.get_current_instance().get_info('iter'))


def collate(batch):
    return {'inputs': batch}


class Watch(Hook):
    """Notes what is trained on, and stops the run before an iteration as Ctrl-C twice would."""

    def __init__(self, stop_at=None):
        self.seen = []
        self.stop_at = stop_at

    def before_train_iter(self, runner, batch_idx, data_batch):
        if runner.iter == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append((batch_idx, data_batch['inputs']))


def build(
    folder, *hooks, by_epoch=True, loader=(), checkpoint=(), train=(), validate=False, **kwargs
):
    """Build a run of 3 epochs, or 24 iterations, of 8 batches."""
    length = dict(max_epochs=3) if by_epoch else dict(max_iters=24)
    settings = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)))
    settings['randomness'] = dict(seed=11)
    if validate:
        settings |= dict(
            val_dataloader=dict(
                dataset=Numbers(2),
                sampler=dict(type='DefaultSampler', shuffle=False),
                batch_size=2,
                collate_fn=collate,
            ),
            val_cfg=dict(),
            val_evaluator=dict(type=Metric),
        )
    return Runner(
        Model(),
        str(folder),
        train_dataloader=dict(
            dict(
                batch_size=8,
                dataset=Numbers(),
                sampler=dict(
                    type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True
                ),
                collate_fn=collate,
                num_workers=0,
            ),
            **dict(loader),
        ),
        train_cfg=dict(dict(by_epoch=by_epoch, **length), **dict(train)),
        default_hooks=dict(
            checkpoint=dict(
                dict(type='CheckpointHook', by_epoch=False, interval=5), **dict(checkpoint)
            )
        ),
        custom_hooks=[*hooks],
        experiment_name=f'{folder.name}{os.urandom(4).hex()}',
        **dict(settings, **kwargs),
    )


def run(folder, *hooks, **kwargs):
    """Run it, and return what it has seen."""
    watch = Watch()
    build(folder, watch, *hooks, **kwargs).train()
    return watch.seen


def stop(folder, iteration, *hooks, **kwargs):
    """Run it until an iteration, and return what it has seen."""
    watch = Watch(iteration)
    with pytest.raises(KeyboardInterrupt):
        build(folder, watch, *hooks, **kwargs).train()
    return watch.seen


def weights(folder, name='last_checkpoint'):
    path = folder / name
    if name == 'last_checkpoint':
        path = Path(path.read_text())
    return torch.load(path, weights_only=False)
