"""Runs of small networks in processes that can be killed at any moment."""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from threading import Timer

import torch
from conftest import data_roots
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.utils import ManagerMixin
from small_networks import config_of

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.errors import exit_on_input_error

SIDE = 64
EPOCHS, ITERATIONS = 3, 12
#: What two runs have in common if one of them is the other with interruptions.
EXACT = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')


def small_run(task, data, work_dir, num_workers=0, **settings):
    """Return the config of a run of some 12 iterations, with random numbers wherever it can."""
    cfg = config_of(task)
    cfg.work_dir = str(work_dir)
    cfg.randomness = dict(seed=5)
    cfg.model.backbone.update(drop_path_rate=0.3)
    for steps in (cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline):
        for step in steps:
            if step['type'] == 'Resize':
                step['scale'] = (SIDE, SIDE) if task == 'detection' else (2 * SIDE, SIDE)
            if step['type'] == 'RandomCrop':
                step['crop_size'] = (SIDE, SIDE)
    if task == 'segmentation':
        cfg.model.data_preprocessor.size = (SIDE, SIDE)
        cfg.train_cfg.update(max_iters=ITERATIONS, val_interval=4)
        cfg.default_hooks.checkpoint.interval = 3
        cfg.param_scheduler[0].end = 10
    else:
        cfg.train_cfg.update(max_epochs=EPOCHS, val_interval=1)
    jitter = dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4)
    cfg.train_dataloader.dataset.pipeline.insert(-1, jitter)
    cfg.train_dataloader.batch_size = 32 if task == 'classification' else 8
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        roots = data_roots(data)
        names = dict(detection='COCO_ROOT', segmentation='VOC_ROOT', classification='IMAGENET_ROOT')
        loader.dataset.data_root = roots[names[task]]
        loader.num_workers = num_workers
        loader.persistent_workers = num_workers > 0
    cfg.default_hooks.logger.interval = 1
    cfg.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    cfg.merge_from_dict(settings)
    return cfg


def start(cfg, resume=False, hook=None):
    """Start a run in a fork of this process, which has imported everything, and return its id.

    Args:
        cfg: the config.
        resume: whether to resume.
        hook: another hook of the run.
    """
    # The log tells it from a run of the same second.
    cfg = cfg.copy()
    cfg.experiment_name = f'{time.time_ns()}'
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setpgid(0, 0)
        folder = Path(cfg.work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout = sys.stderr = open(folder / 'output.txt', 'a', buffering=1)  # noqa: SIM115
        with exit_on_input_error():
            train(cfg, resume, hook)
        status = 0
    except SystemExit as error:
        status = error.code
        if isinstance(status, str):
            print(status, flush=True)
            status = 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def train(cfg, resume=False, hook=None):
    """Run it in this process."""
    cfg = cfg.copy()
    cfg.resume = resume
    managed = [ManagerMixin]
    for cls in managed:
        cls._instance_dict.clear()
        managed += cls.__subclasses__()
    DefaultScope._instance_dict.clear()
    runner = RUNNERS.build(cfg)
    if hook:
        runner.register_hook(hook, 'HIGHEST')
    runner.train()
    return runner


def status_of(process):
    """Wait for a run, and return its exit status, or the negative number of a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def last_checkpoint(cfg):
    path = Path(cfg.work_dir, 'last_checkpoint').read_text()
    return torch.load(path, map_location='cpu', weights_only=False)


def assert_same_runs(got, expected):
    """Check that the ends of two runs, and their losses, are equal to the last bit."""
    state, other = last_checkpoint(got), last_checkpoint(expected)
    for key in EXACT:
        assert (key in state) == (key in other)
        if key in other:
            assert_same(state[key], other[key], key)
    assert state['meta']['iter'] == other['meta']['iter']
    scalars, others = (part['message_hub']['log_scalars'] for part in (state, other))
    assert scalars.keys() == others.keys()
    for key in others:
        if 'time' not in key and 'memory' not in key:
            assert scalars[key].data[0].tolist() == others[key].data[0].tolist(), key
    best = [part['message_hub']['runtime_info'].get('best_score') for part in (state, other)]
    assert best[0] == best[1]
    rows = [read_scalars(cfg.work_dir)[0] for cfg in (got, expected)]
    losses = [{step: row['loss'] for step, row in part.items()} for part in rows]
    assert losses[0] == losses[1]
    assert len(losses[1]) == state['meta']['iter']


def assert_same(got, expected, name=''):
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), name
        for key, value in expected.items():
            assert_same(got[key], value, f'{name}.{key}')
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected), name
        for number, (item, value) in enumerate(zip(got, expected, strict=True)):
            assert_same(item, value, f'{name}.{number}')
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(got, expected), name
    else:
        assert got == expected, name


class KillAt(Hook):
    """Kills the process a moment after an iteration has begun, or while it writes a checkpoint.

    Args:
        iteration: at which to do it.
        seconds: after the iteration has begun; None for in the middle of the next checkpoint.
    """

    def __init__(self, iteration, seconds):
        self.iteration = iteration
        self.seconds = seconds

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter != self.iteration:
            return
        if self.seconds is not None:
            Timer(self.seconds, kill).start()
            return

        def half(backend, obj, filepath):
            with open(filepath, 'wb') as file:
                file.write(obj[: len(obj) // 2])
            if '.pth' in str(filepath):
                kill()

        LocalBackend.put = half


def kill():
    os.kill(os.getpid(), signal.SIGKILL)
