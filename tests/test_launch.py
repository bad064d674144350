"""Processes that are started together, and again when one of them dies."""

import os
import signal
import subprocess

import pytest
from conftest import ROOT, start_process

from edgenext_mm.launch import main

#: Two workers, of which the second does something else at its first start.
WORKER = """
import os, signal, sys, time
from torch.distributed import TCPStore
rank, count = int(os.environ['RANK']), os.environ['TORCHELASTIC_RESTART_COUNT']
master = rank == 0 and os.environ['TORCHELASTIC_USE_AGENT_STORE'] != 'True'
store = TCPStore(os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']), 2, master)
assert store.add('starts', 1) <= 2  # and nothing is there of processes before
open(f'{rank}_{count}', 'w').close()
if sys.argv[1] == 'stops':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    print('worker', flush=True)
    time.sleep(60)
if rank == 1 and count == '0':
    os.kill(os.getpid(), 9) if sys.argv[1] == 'dies' else sys.exit(int(sys.argv[1]))
time.sleep(0.5)
"""
ARGUMENTS = ('--nproc-per-node=2', '--rdzv-backend=c10d', '--rdzv-endpoint=127.0.0.1:0')


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    (tmp_path / 'worker.py').write_text(WORKER)
    yield tmp_path / 'worker.py'
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('what', 'restarts', 'status', 'starts'),
    [
        ('dies', 1, 0, 2),
        ('dies', 0, 137, 1),
        ('75', 1, 75, 1),
        ('2', 1, 2, 1),
    ],
)
def test_statuses(worker, capsys, what, restarts, status, starts):
    """A worker that dies is started again; not so one that was asked to stop, or used wrongly."""
    assert main([*ARGUMENTS, f'--max-restarts={restarts}', str(worker), what]) == status
    names = {f'{rank}_{start}' for rank in range(2) for start in range(starts)}
    assert {path.name for path in worker.parent.glob('?_?')} == names
    error = f'error: process 1 of the run ended with exit status {status}: see its last messages\n'
    assert capsys.readouterr().err.endswith(error) == (status not in (0, 75))


@pytest.mark.slow
def test_signal(worker):
    """The launcher hands it on, and waits for what the processes save."""
    process = start_process(
        *('python', '-m', 'edgenext_mm.launch', *ARGUMENTS, worker, 'stops'),
        cwd=worker.parent,
        data_root='',
    )
    lines = []
    while lines.count('worker\n') < 2:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    process.stdout.close()


def test_scripts(tmp_path, monkeypatch):
    """What the scripts ask for: restarts only of runs that go on from their own checkpoints."""
    (tmp_path / 'python').write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / 'python').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)

    def run(script, *arguments):
        command = [ROOT / 'tools' / script, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    for arguments, restarts in (
        ((), 0),
        (('--resume',), 3),
        (('--resume', '--amp'), 3),
        (('--resume', 'epoch_1.pth'), 0),
        (('--work-dir', 'resume'), 0),
    ):
        said = run('dist_train.sh', 'config.py', '2', *arguments).stdout
        assert f' --max-restarts={restarts} ' in said
        assert said.endswith(' '.join(('config.py --launcher pytorch', *arguments)) + '\n')
        assert '--nproc-per-node=2 ' in said and '--rdzv-endpoint=127.0.0.1:0 ' in said
    monkeypatch.setenv('NNODES', '2')
    monkeypatch.setenv('NODE_RANK', '1')
    monkeypatch.setenv('MASTER_ADDR', 'first')
    monkeypatch.setenv('MAX_RESTARTS', '7')
    said = run('dist_train.sh', 'config.py', '2', '--resume').stdout
    assert '--nnodes=2 ' in said and '--rdzv-endpoint=first:29500 --rdzv-conf=is_host=0' in said
    assert ' --max-restarts=7 ' in said
    said = run('dist_test.sh', 'config.py', 'a.pth', '2', '--tta').stdout
    assert said.endswith('test.py config.py a.pth --launcher pytorch --tta\n')
    for script in ('dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'):
        usage = run(script)
        assert usage.returncode == 2 and usage.stderr.startswith(f'Usage: tools/{script}')
