"""Runs that are stopped in any way and resumed end as if nothing had happened."""

import os
import random
import signal
from pathlib import Path

import pytest
import torch
from killed_runs import (
    KillAt,
    assert_same,
    assert_same_runs,
    last_checkpoint,
    small_run,
    start,
    status_of,
)
from small_networks import TASKS

from edgenext_mm.errors import Interrupted

SETTINGS = {
    'plain': {},
    # A step of the optimizer in each third iteration: the last one of an epoch makes none.
    'accumulated': {'optim_wrapper.accumulative_counts': 3},
    # In the middle of an epoch as well.
    'often': {'default_hooks.checkpoint.minutes': 1e-3},
}


@pytest.fixture(scope='module')
def whole(demo_data, tmp_path_factory):
    """Return a function that returns the config of a run that was not interrupted."""
    runs = {}

    def run(task, setting, num_workers=0):
        if (task, setting) not in runs:
            folder = tmp_path_factory.mktemp(f'{task}_{setting}')
            cfg = small_run(task, demo_data, folder, num_workers, **SETTINGS[setting])
            assert status_of(start(cfg)) == 0, output_of(cfg)
            runs[task, setting] = cfg
        return runs[task, setting]

    return run


def output_of(cfg):
    return Path(cfg.work_dir, 'output.txt').read_text()[-5000:]


def interrupted(whole, folder, num_workers, points):
    """Kill a run at some points, each time when it has gone on, and return its config at the end.

    A point is an iteration, and seconds from its beginning, or None for in the middle of writing.
    """
    cfg = whole.copy()
    cfg.work_dir = str(folder)
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].update(num_workers=num_workers, persistent_workers=num_workers > 0)
    for number, point in enumerate(points):
        status = status_of(start(cfg, number > 0, KillAt(*point)))
        # An iteration that is behind the last checkpoint does not come again.
        assert status in (-signal.SIGKILL, 0), output_of(cfg)
    assert status_of(start(cfg, resume=True)) == 0, output_of(cfg)
    assert not [*folder.glob('*.partial')] and not [*folder.glob('interim*')]
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'setting', 'num_workers', 'point'),
    [
        ('detection', 'often', 2, (6, 0.05)),
        ('segmentation', 'accumulated', 0, (7, None)),
        ('classification', 'often', 0, (5, None)),
    ],
)
def test_killed_run(whole, tmp_path, task, setting, num_workers, point):
    expected = whole(task, setting)
    assert_same_runs(interrupted(expected, tmp_path, num_workers, [point]), expected)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize('setting', SETTINGS)
@pytest.mark.parametrize('task', TASKS)
def test_run_that_is_killed_again_and_again(whole, tmp_path, task, setting):
    """At 3 random points for each task and setting, which are 27, with other workers each time."""
    expected = whole(task, setting)
    rng = random.Random(f'{task} {setting}')
    iterations = sorted(rng.sample(range(1, 12), 3))
    points = [(i, rng.choice((None, rng.uniform(0, 0.4), rng.uniform(0, 0.4)))) for i in iterations]
    print(task, setting, points)
    num_workers = rng.choice((0, 2))
    assert_same_runs(interrupted(expected, tmp_path, num_workers, points), expected)


class SignalAt(KillAt):
    """Signals to all processes of the run, as a scheduler does and a terminal on Ctrl-C."""

    def __init__(self, iteration, name, in_validation=False):
        super().__init__(iteration, 0)
        self.name = name
        self.in_validation = in_validation

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration and not self.in_validation:
            self._send()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if self.in_validation:
            self._send()

    def _send(self):
        os.killpg(0, self.name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'num_workers', 'hook', 'name'),
    [
        ('detection', 2, SignalAt(5, signal.SIGTERM), 'interim_iter_6.pth'),
        ('segmentation', 2, SignalAt(7, signal.SIGINT), 'interim_iter_8.pth'),
        ('segmentation', 0, SignalAt(0, signal.SIGTERM, True), 'interim_iter_4.pth'),
    ],
)
def test_signal(whole, tmp_path, task, num_workers, hook, name):
    """The step is made, or a validation left, and the status says that the run can go on."""
    expected = whole(task, 'accumulated')
    cfg = expected.copy()
    cfg.work_dir = str(tmp_path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=num_workers, persistent_workers=num_workers > 0)
    assert status_of(start(cfg, False, hook)) == Interrupted.STATUS, output_of(cfg)
    assert Path((tmp_path / 'last_checkpoint').read_text()).name in (name, name[8:])
    assert '--resume goes on from there (exit status 75)' in output_of(cfg)
    assert status_of(start(cfg, resume=True)) == 0, output_of(cfg)
    assert_same_runs(cfg, expected)


@pytest.mark.slow
@pytest.mark.parametrize('way', ['averaged', pytest.param('compiled', marks=pytest.mark.soak)])
def test_goes_on_in_another_way(whole, tmp_path, way):
    """The average begins with the weights; what is compiled rounds in other ways, at the most."""
    expected = whole('classification', 'plain')
    cfg = expected.copy()
    cfg.work_dir = str(tmp_path)
    if way == 'averaged':
        cfg.custom_hooks = []
    assert status_of(start(cfg, hook=KillAt(6, None))) == -signal.SIGKILL
    cfg.custom_hooks = expected.custom_hooks
    if way == 'compiled':
        cfg.compile = dict(backend='eager')
    assert status_of(start(cfg, resume=True)) == 0, output_of(cfg)
    # Of the training itself, which in the file have the place of the average.
    got, trained = (
        {k: v for k, v in last_checkpoint(run)['ema_state_dict'].items() if k != 'steps'}
        for run in (cfg, expected)
    )
    if way == 'averaged':
        assert_same(got, trained)
    else:
        torch.testing.assert_close(got, trained, rtol=0.01, atol=0.01)
