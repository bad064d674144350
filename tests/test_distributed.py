"""Training and tests in two processes on CPUs, by PyTorch's gloo backend."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, ROOT, start_process
from killed_runs import EXACT, assert_same, small_run
from mmengine.config import Config
from small_networks import TASKS, config_of
from two_processes import start, train_and_test

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.datasets.demo import make_demo_data
from edgenext_mm.engine import Runner
from edgenext_mm.errors import InputError

DEMO = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'
DEMO_CLS = CLS_CONFIGS / 'edgenext_xx_small_demo.py'


@pytest.mark.slow
def test_two_processes(demo_data, tmp_path):
    """Two processes train and test as one does, and one alone says what it waits for."""
    for task in TASKS:
        *_, metrics = result = train_and_test(task, demo_data, tmp_path / task)
        assert min(metrics.values()) > 0
        torch.save(result, tmp_path / f'{task}.pth')
    torch.multiprocessing.spawn(start, (tmp_path, demo_data), nprocs=2)


#: For a config that asks for NCCL and SyncBN.
ON_CPUS = ('--cfg-options', 'env_cfg.dist_cfg.backend=gloo', 'sync_bn=None')


@pytest.mark.slow
def test_tools(demo_data, tmp_path):
    options = (
        *(f'--work-dir={tmp_path}', *ON_CPUS),
        'train_cfg.max_epochs=1',
        'param_scheduler.1.T_max=1',
        'default_hooks.logger.interval=1',
        'auto_scale_lr.base_batch_size=4',  # of the 16 that two processes take
    )

    def run(script, *arguments):
        process = start_process(
            *(ROOT / 'tools' / script, *arguments, *options), cwd=tmp_path, data_root=demo_data
        )
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output
        return output

    assert 'coco/bbox_mAP' in run('dist_train.sh', DEMO, 2, '--auto-scale-lr')
    train, _ = read_scalars(tmp_path)
    cfg = Config.fromfile(DEMO)
    warm_up = cfg.param_scheduler[0].start_factor
    assert list(train) == [1, 2]
    assert train[1]['lr'] == pytest.approx(4 * warm_up * cfg.optim_wrapper.optimizer.lr)
    assert 'coco/bbox_mAP' in run('dist_test.sh', DEMO, tmp_path / 'epoch_1.pth', 2)


#: A stand-in for srun and a job of one task, which has the exit status STATUS if that is set.
SRUN = """#!/bin/bash
printf '%s\\n' "$@" > srun.txt
[ -z "$STATUS" ] || exit "$STATUS"
while [[ $1 == --* ]]; do shift; done
SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1 SLURM_NODELIST=here exec "$@"
"""


@pytest.mark.slow
def test_slurm(demo_data, tmp_path, monkeypatch):
    for name, text in (('srun', SRUN), ('scontrol', '#!/bin/sh\necho 127.0.0.1\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        monkeypatch.setenv('MASTER_PORT', str(free.getsockname()[1]))

    def run(script, *arguments):
        arguments = (ROOT / 'tools' / script, 'gpus', 'a job', *arguments)
        process = start_process(*arguments, cwd=tmp_path, data_root=demo_data)
        output, _ = process.communicate(timeout=900)
        return process.returncode, output, (tmp_path / 'srun.txt').read_text().splitlines()

    monkeypatch.setenv('SRUN_ARGS', '--time=5 --qos=low')
    monkeypatch.setenv('GPUS', '4')
    options = (f'--work-dir={tmp_path}', *ON_CPUS, 'train_cfg.max_epochs=1')
    status, output, arguments = run('slurm_train.sh', DEMO_CLS, *options)
    assert status == 0 and 'accuracy/top1' in output, output
    assert {'--partition=gpus', '--job-name=a job', '--time=5', '--qos=low'} < {*arguments}
    assert {'--ntasks=4', '--ntasks-per-node=4', '--gres=gpu:4', '--cpus-per-task=5'} < {*arguments}
    monkeypatch.setenv('STATUS', '75')  # for the script of the job to submit it again
    monkeypatch.setenv('GPUS', '16')
    status, _, arguments = run('slurm_test.sh', DEMO_CLS, 'epoch_1.pth', '--tta')
    assert status == 75 and {'--ntasks=16', '--ntasks-per-node=8'} < {*arguments}
    test = str(ROOT / 'tools' / 'test.py')
    assert arguments[-6:] == [test, str(DEMO_CLS), 'epoch_1.pth', '--launcher', 'slurm', '--tta']


def test_what_is_for_gpus_alone(tmp_path, monkeypatch):
    """A config for GPUs says on CPUs what to change, before anything starts."""
    cfg = config_of('classification')
    cfg.update(launcher='pytorch', work_dir=str(tmp_path))
    message = r'set env_cfg\.dist_cfg\.backend=gloo and sync_bn=None'
    with pytest.raises(InputError, match=message):
        Runner.from_cfg(cfg)
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    with pytest.raises(InputError, match=r'set sync_bn=None'):
        Runner.from_cfg(cfg)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize('what', ['small classifier', 'demo'])
def test_run_that_much_happens_to(demo_data, tmp_path, monkeypatch, what):
    """Its processes die, hang, find no room and damaged files, and it ends as if nothing had been.

    It is started again by hand once, after it was asked to stop. The end of the small one is equal
    to the last bit; the demo is as good as it is alone.
    """
    if what == 'demo':
        demo_data = tmp_path / 'data'
        make_demo_data(demo_data)
        monkeypatch.setenv('COCO_ROOT', str(demo_data))
        cfg = Config.fromfile(DEMO)
        cfg.train_dataloader.batch_size //= 2
    else:
        cfg = small_run('classification', demo_data, tmp_path / 'run')
        cfg.train_cfg.max_epochs = 14
        cfg.default_hooks.checkpoint.save_best = None
    cfg.sync_bn = None
    cfg.env_cfg.dist_cfg = dict(backend='gloo', timeout=20 if what == 'small classifier' else 90)
    cfg.dump(tmp_path / 'config.py')

    def start(folder):
        command = (ROOT / 'tools/dist_train.sh', tmp_path / 'config.py', 2, '--resume')
        # A pipe, to which the limit on files does not apply.
        tee = ('tee', '--append', tmp_path / f'{folder}.txt')
        output = subprocess.Popen(tee, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        with output.stdin:
            return start_process(
                *(*command, f'--work-dir={tmp_path / folder}'),
                cwd=tmp_path,
                data_root=demo_data,
                stdout=output.stdin,
            )

    pointer = tmp_path / 'run' / 'last_checkpoint'

    def worker(launcher, starts, rank):
        """Return a process that has been started so often, when it has saved a checkpoint."""
        wanted = dict(RANK=str(rank), TORCHELASTIC_RESTART_COUNT=str(starts))
        while launcher.poll() is None:
            for process in psutil.Process(launcher.pid).children():
                with suppress(psutil.Error, FileNotFoundError):  # before the process, or the file
                    saved = pointer.stat().st_mtime > process.create_time()
                    if saved and wanted.items() <= process.environ().items():
                        return process
            time.sleep(0.05)
        pytest.fail((tmp_path / 'run.txt').read_text())

    launcher = start('run')
    worker(launcher, 0, 1).kill()
    worker(launcher, 1, 0).kill()
    newest = Path(pointer.read_text())
    half = newest.stat().st_size // 2
    os.truncate(newest, half)
    worker(launcher, 2, 0).rlimit(psutil.RLIMIT_FSIZE, (half, half))
    worker(launcher, 3, 0)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(120) == 75
    launcher = start('run')
    worker(launcher, 0, 1).suspend()
    assert launcher.wait(3600) == 0

    said = (tmp_path / 'run.txt').read_text()
    for text in (
        'another one has ended',
        f'{newest} is damaged',
        'ake room there, and go on with --resume',
        f'another one did not answer in {cfg.env_cfg.dist_cfg.timeout} seconds',
        'stopped by SIGTERM, with a checkpoint',
    ):
        assert text in said, said
    got = torch.load(pointer.read_text(), weights_only=False)
    assert got['meta']['epoch'] == 14
    if what == 'demo':
        assert read_scalars(tmp_path / 'run')[1][14]['coco/bbox_mAP_50'] > 0.5
        return
    assert start('calm').wait(600) == 0
    expected = torch.load((tmp_path / 'calm' / 'last_checkpoint').read_text(), weights_only=False)
    assert_same(*({key: state[key] for key in EXACT} for state in (got, expected)))
