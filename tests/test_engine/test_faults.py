"""Faults of the machine have names."""

import gc
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from short_runs import Numbers, build, collate

from edgenext_mm.engine.faults import naming_faults, naming_memory
from edgenext_mm.errors import InputError


class Faulty(Numbers):
    """Does something else in the place of loading one of the samples."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def __getitem__(self, index):
        return self.fault() if index == 20 else super().__getitem__(index)


def killed(name):
    """As for want of memory."""
    return lambda: os.kill(os.getpid(), name)


def unknown():
    class Unknown(Exception):
        """Cannot be pickled."""

    raise Unknown('no such class')


def interrupt():
    raise KeyboardInterrupt


def without_shared_memory():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
    return torch.zeros(9)


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['train', 'val'])
@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        # As of a network that is gone.
        (lambda: time.sleep(1000), 'no batch came from the data in 1 seconds: .* raise timeout'),
        (killed(signal.SIGKILL), r'\(process \d+\) .*, as for want of memory: .* num_workers'),
        (killed(signal.SIGBUS), 'found no shared memory: .*shm-size'),
    ],
)
def test_workers(tmp_path, mode, fault, message):
    runner = faulty_run(tmp_path, fault, mode)
    with pytest.raises(InputError, match=message) as error:
        getattr(runner, mode)()
    assert ('--resume' in str(error.value)) == (mode == 'train')
    del error, runner
    gc.collect()  # the loader of a validation
    for worker in multiprocessing.active_children():
        worker.join(5)
        assert not worker.is_alive()  # also one that hangs


def faulty_run(folder, fault, mode='train', num_workers=1):
    loader = dict(dataset=Faulty(fault), num_workers=num_workers, timeout=1)
    runner = build(folder, loader=loader if mode == 'train' else {}, validate=True)
    if mode == 'val':
        runner._val_loop = dict()
        loader |= dict(batch_size=8, collate_fn=collate)
        runner._val_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=False))
    return runner


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        (
            lambda: Path('gone.png').read_bytes(),
            r"sample 20 of Faulty .*No such file .*'gone\.png'.* paths",
        ),
        (lambda: sys.exit(0), r'sample 20 .* line \d+ of .*test_faults\.py ends the process'),
    ],
)
def test_samples(tmp_path, fault, message, num_workers):
    """Neither is a run over, as if all were well, nor does it wait for a worker that is gone."""
    with pytest.raises(InputError, match=message):
        faulty_run(tmp_path, fault, num_workers=num_workers).train()


@pytest.mark.parametrize(
    ('fault', 'error', 'message'),
    [
        (interrupt, InputError, 'ends the process .KeyboardInterrupt'),
        (unknown, RuntimeError, r'(?s)Traceback.*in unknown.*no such class'),
        (lambda: lambda: 0, InputError, 'cannot be sent .* have the transforms return'),
        (without_shared_memory, InputError, 'found no shared memory: .*shm-size'),
    ],
)
def test_what_workers_cannot_send(tmp_path, fault, error, message):
    """Has a reason, for which nobody waits."""
    with pytest.raises(error, match=message):
        faulty_run(tmp_path, fault).train()


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (
            RuntimeError('[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:5'),
            r'process 1 of the run cannot go on: another one has ended\..*--resume',
        ),
        (
            getattr(torch.distributed, 'DistStoreError', RuntimeError)(
                'Timed out after 901 seconds waiting for clients. 1/2 clients joined.'
            ),
            r'process 1 .* another one did not answer in 901 seconds\. .*dist_cfg\.timeout',
        ),
        (RuntimeError('Connection reset by peer'), r'^Connection reset by peer$'),
    ],
)
def test_other_processes(monkeypatch, error, message):
    """Which is told from what else may have ended, such as a server that data come from."""
    monkeypatch.setenv('RANK', '1')
    expected = InputError if 'another' in message else RuntimeError
    with pytest.raises(expected, match=message), naming_faults('work_dir', training=True):
        raise error


def test_missing_file():
    """As the annotations that a config of mmdet names, or its evaluator."""
    with (
        pytest.raises(InputError, match=r'the file gone/val\.json is not there: .*evaluators'),
        naming_faults('work_dir'),
    ):
        Path('gone/val.json').read_text()


def test_workers_have_ten_minutes(tmp_path):
    for workers, seconds in ((0, 0), (1, 600)):
        runner = build(tmp_path, loader=dict(num_workers=workers))
        assert runner.train_dataloader.timeout == seconds
    runner = build(tmp_path, loader=dict(num_workers=0, timeout=5))
    assert runner.train_dataloader.timeout == 0


@pytest.mark.parametrize(
    'error',
    [
        MemoryError('Unable to allocate'),
        torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory(tmp_path, error):
    class Greedy(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise error

    with pytest.raises(InputError, match=r'the memory is too small for a batch .*batch_size'):
        build(tmp_path, Greedy()).train()
    images = [torch.zeros(3, 40, 32), torch.zeros(3, 64, 48)]
    for batch in (dict(inputs=images), dict(inputs=torch.zeros(2, 3, 64, 48))):
        with (
            pytest.raises(InputError, match=r'2 images of up to \(3, 64, 48\) pixels'),
            naming_memory((7, batch)),
        ):
            raise error


def test_other_errors_stay_as_they_are(tmp_path):
    class Wrong(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            raise RuntimeError('shapes differ')

    with pytest.raises(RuntimeError, match=r'^shapes differ$'):
        build(tmp_path, Wrong()).train()
