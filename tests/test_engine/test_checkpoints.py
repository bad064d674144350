"""Which checkpoints there are, which one a run goes on from, and where in the data."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import short_runs
import torch
from killed_runs import small_run, status_of
from killed_runs import start as start_small
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner as MMEngineRunner
from short_runs import Numbers, build, run, stop, weights

from edgenext_mm.engine import CheckpointHook, EpochBasedTrainLoop, IterBasedTrainLoop
from edgenext_mm.engine.signals import StopRequest
from edgenext_mm.errors import InputError, Interrupted


@pytest.fixture
def said(monkeypatch):
    """Return a function that returns what the log warned of."""
    records = []
    monkeypatch.setattr(MMLogger, 'callHandlers', lambda self, record: records.append(record))
    return lambda: '\n'.join(r.getMessage() for r in records if r.levelname == 'WARNING')


ORDERS = {
    'epochs': {},
    'iterations': dict(by_epoch=False),
    # Of 60 samples: a pass over the data ends after 7 iterations.
    'passes': dict(
        by_epoch=False, loader=dict(sampler=dict(type='DefaultSampler'), drop_last=True)
    ),
    'sizes': dict(
        loader=dict(batch_sampler=dict(type='edgenext_mm.MultiScaleBatchSampler', sizes=(192, 256)))
    ),
    'repeated': dict(loader=dict(sampler=dict(type='mmpretrain.RepeatAugSampler'))),
    'torch': dict(loader=dict(sampler=torch.utils.data.RandomSampler(Numbers()))),
    'accumulated': dict(
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=3)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('order', ORDERS)
def test_goes_on_anywhere(tmp_path, order):
    """With the batches, their numbers, the random numbers and the gradients that were next."""
    settings = ORDERS[order]
    expected = run(tmp_path / 'whole', **settings)
    stop(tmp_path / 'half', 13, **settings)
    workers = dict(settings, loader=dict(settings.get('loader', {}), num_workers=2))
    seen = run(tmp_path / 'half', resume=True, **workers)
    assert seen == expected[10:] and len({drawn for _, batch in seen for _, drawn in batch}) > 60
    got, whole = weights(tmp_path / 'half'), weights(tmp_path / 'whole')
    assert got['state_dict'] == whole['state_dict'] and got['meta']['iter'] == len(expected)


def test_takes_the_seed_from_the_checkpoint(tmp_path):
    stop(tmp_path, 13, randomness=dict(seed=None))
    seed = weights(tmp_path)['meta']['seed']
    expected = run(tmp_path / 'whole', randomness=dict(seed=seed))
    assert run(tmp_path, resume=True, randomness=dict(seed=None)) == expected[10:]


def test_other_workers_than_those_of_a_killed_run(tmp_path):
    """Partial files and interim checkpoints of a run that died are taken away."""
    checkpoint = dict(by_epoch=True, interval=1, minutes=1e-9)
    expected = run(tmp_path / 'whole')
    stop(tmp_path / 'half', 13, checkpoint=checkpoint)
    assert {path.name for path in (tmp_path / 'half').glob('*.pth')} == {
        *('epoch_1.pth', 'interim_iter_12.pth', 'interim_iter_13.pth')
    }
    (tmp_path / 'half/epoch_2.pth.0.partial').touch()
    assert run(tmp_path / 'half', resume=True, checkpoint=checkpoint) == expected[13:]
    assert {path.name for path in (tmp_path / 'half').iterdir() if path.is_file()} == {
        *('epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth', 'last_checkpoint', 'run.lock'),
        *(path.name for path in (tmp_path / 'half').glob('*.py')),
    }


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(b'weight') + 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize('spoil', [truncate, flip, lambda path: path.write_bytes(b'')])
def test_damaged_checkpoint(tmp_path, said, spoil):
    """The one before is used, and the log says so. If it was asked for, none is."""
    expected = run(tmp_path / 'whole')
    folder = tmp_path / 'half'
    stop(folder, 13)
    spoil(folder / 'iter_10.pth')
    with pytest.raises(InputError, match=r'iter_10\.pth is damaged .* there is no other'):
        run(folder, resume=True, load_from=str(folder / 'iter_10.pth'))
    assert run(folder, resume=True) == expected[5:]
    assert re.search(r'iter_10\.pth is damaged \(.*\): .*, .*iter_5\.pth', said())
    for path in folder.glob('*.pth'):
        spoil(path)
    with pytest.raises(InputError, match='there is no other checkpoint to resume from'):
        run(folder, resume=True)


def test_last_checkpoint(tmp_path, said):
    """Of a moved folder, damaged, missing, and of a run that has none."""
    stop(tmp_path / 'first', 13)
    folder = (tmp_path / 'first').rename(tmp_path / 'moved')
    for text in (None, '', 'nowhere.pth', '\0'):
        if text is not None:
            (folder / 'last_checkpoint').write_text(text)
        assert Path(CheckpointHook(by_epoch=False).candidates(build(folder))[0]).name == (
            'iter_10.pth'
        )
    (folder / 'last_checkpoint').unlink()
    assert len(run(folder, resume=True)) == 14
    assert 'checkpoint' not in said()
    assert len(run(tmp_path / 'new', resume=True)) == 24
    assert 'there is no checkpoint' in said() and 'starts from the beginning' in said()


def test_replaced_checkpoints_go_last(tmp_path, monkeypatch):
    """The last one, and the best one, are there until the next is whole, also on a full disk."""
    folder = tmp_path / 'work'
    settings = dict(validate=True, checkpoint=dict(interval=1, by_epoch=True, max_keep_ckpts=1))
    settings['checkpoint']['save_best'] = 'top'
    put, there, fails_at = LocalBackend.put, [], 0

    def watched(backend, obj, path):
        if '.pth' in str(path):
            there.append({name.name for name in folder.glob('*.pth')})
            if len(there) == fails_at:
                put(backend, obj[:100], path)
                raise OSError(errno.ENOSPC, 'No space left on device')
        put(backend, obj, path)

    monkeypatch.setattr(LocalBackend, 'put', watched)
    run(folder, **settings)
    regular = [sorted(name for name in names if name.startswith('epoch')) for names in there]
    best = [sorted(name for name in names if name.startswith('best')) for names in there]
    assert all(regular[1:]) and all(best[2:])
    assert {path.name for path in folder.glob('*.pth')} == {
        *('epoch_3.pth', 'best_top_epoch_3.pth'),
    }
    for fails_at, regular in ((4, 'epoch_1.pth'), (5, 'epoch_2.pth')):  # noqa: B007 # it is read above
        for path in folder.glob('*.pth'):
            path.unlink()
        there.clear()
        with pytest.raises(InputError, match=r'cannot write a checkpoint into .* No space left'):
            run(folder, **settings)
        names = {path.name for path in folder.glob('*')}
        assert {regular, 'best_top_epoch_1.pth'} <= names
        assert not any('partial' in name for name in names)
        for path in folder.glob('*.pth'):
            torch.load(path, weights_only=False)
    fails_at = 0
    assert len(run(folder, resume=True, **settings)) == 8


@pytest.mark.slow
def test_full_disk(demo_data, tmp_path):
    """One line, exit status 1, and the checkpoint before is whole: as a process has it."""

    class Limit(Hook):
        def after_val_epoch(self, runner, metrics=None):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    cfg = small_run('classification', demo_data, tmp_path)
    assert status_of(start_small(cfg, hook=Limit())) == 1
    *_, line = (tmp_path / 'output.txt').read_text().splitlines()
    assert line.startswith('error: cannot write') or 'cannot be written to' in line
    assert 'Traceback' not in (tmp_path / 'output.txt').read_text()
    assert status_of(start_small(cfg, resume=True)) == 0


def test_validation_that_was_due(tmp_path):
    """A run that is killed between a checkpoint and its validation begins with that."""

    class Validated(Hook):
        priority = 'LOWEST'

        def __init__(self, stop_at=None):
            self.found = []
            self.stop_at = stop_at

        def before_val(self, runner):
            if runner.iter == self.stop_at:
                raise KeyboardInterrupt

        def after_val_epoch(self, runner, metrics):
            self.found.append((runner.iter, metrics['acc']))

    ema = dict(type='EMAHook', momentum=0.1)
    early = dict(type='EarlyStoppingHook', monitor='acc', rule='greater', patience=2)
    for by_epoch in (True, False):
        settings = dict(by_epoch=by_epoch, validate=True, custom_hooks=None)
        settings['train'] = dict(val_interval=1 if by_epoch else 5)
        settings['checkpoint'] = dict(interval=1 if by_epoch else 5, by_epoch=by_epoch)
        del settings['custom_hooks']
        whole, half, rest = Validated(), Validated(16 if by_epoch else 15), Validated()
        run(tmp_path / f'whole{by_epoch}', ema, early, whole, **settings)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / f'half{by_epoch}', ema, early, half, **settings)
        run(tmp_path / f'half{by_epoch}', ema, early, rest, resume=True, **settings)
        assert half.found + rest.found == whole.found and rest.found
        got, expected = (weights(tmp_path / f'{name}{by_epoch}') for name in ('half', 'whole'))
        assert got['ema_state_dict'] == expected['ema_state_dict']
        assert got['progress'] == expected['progress']


def test_other_batches(tmp_path, said):
    """The run goes on from the same share of the data, and says that it is another one."""
    stop(tmp_path / 'epochs', 13)
    loader = dict(batch_size=4)
    seen = run(tmp_path / 'epochs', resume=True, loader=loader)
    assert len(seen) == 3 * 15 - (15 + 15 * 2 // 8)
    assert 'of a run with 8 samples per iteration and 8 iterations per pass' in said()
    stop(tmp_path / 'iterations', 13, by_epoch=False)
    whole = run(tmp_path / 'whole', by_epoch=False)
    seen = run(tmp_path / 'iterations', resume=True, by_epoch=False, loader=loader)
    assert len(seen) == 14 and seen[0][1] + seen[1][1] == whole[10][1]


def test_checkpoint_of_another_library(tmp_path, said):
    """mmengine's own says the epoch and the iteration alone."""
    expected = run(tmp_path / 'whole')
    stop(tmp_path / 'half', 13)
    state = weights(tmp_path / 'half')
    del state['progress']
    torch.save(state, tmp_path / 'half/iter_10.pth')
    assert run(tmp_path / 'half', resume=True) == expected[10:]
    assert 'does not say where in the data the run was' in said()
    torch.save(dict(state, progress={}), tmp_path / 'other.pth')
    with pytest.raises(
        InputError, match=r"not what this version writes \(KeyError: 'sampler_seed'"
    ):
        run(tmp_path / 'half', resume=True, load_from=str(tmp_path / 'other.pth'))


def test_takes_the_place_of_mmengine(tmp_path):
    for by_epoch, loop in ((True, EpochBasedTrainLoop), (False, IterBasedTrainLoop)):
        name = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
        for train_cfg in ({}, dict(type=name), dict(type=f'mmengine.{name}')):
            runner = build(tmp_path, by_epoch=by_epoch)
            runner._train_loop = dict(train_cfg, **runner._train_loop)
            if train_cfg:
                del runner._train_loop['by_epoch']
            assert type(runner.build_train_loop(runner._train_loop)) is loop
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, MMEngineCheckpointHook))
    assert type(hook) is CheckpointHook


@pytest.mark.parametrize(
    ('by_epoch', 'train', 'message'),
    [
        (True, dict(max_epochs=None), 'says no length'),
        (True, dict(max_epochs=0), 'max_epochs is 0: set a whole number'),
        (True, dict(max_epochs=1), 'make no batch'),
        (False, dict(max_iters=-1), 'max_iters is -1'),
        (False, dict(max_iters=1), 'make no batch'),
    ],
)
def test_lengths_that_are_none(tmp_path, by_epoch, train, message):
    loader = dict(batch_size=99, drop_last=True, sampler=dict(type='DefaultSampler'))
    with pytest.raises(InputError, match=message):
        run(tmp_path, by_epoch=by_epoch, train=train, loader=loader)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_passes_without_end(tmp_path, split):
    runner = build(tmp_path, validate=True)
    getattr(runner, f'_{split}_dataloader')['sampler'] = dict(type='InfiniteSampler')
    with pytest.raises(
        InputError, match=f'{split}_dataloader.sampler is .* InfiniteSampler, which'
    ):
        runner.train()


def test_best_by_a_metric_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"save_best .* is 'accc', which .* set one of acc, top"):
        run(tmp_path, validate=True, checkpoint=dict(save_best='accc', rule='greater'))
    assert weights(tmp_path)['meta']['iter'] == 5  # of the epoch before the validation


def test_parts_of_a_run_that_are_not_there(tmp_path):
    runner = build(tmp_path)
    for split in ('val', 'test'):
        with pytest.raises(InputError, match=f'no {split}_dataloader, {split}_cfg and'):
            getattr(runner, split)()
    with pytest.raises(InputError, match=r"optimizer\.type is 'SDG', and there is no such"):
        run(tmp_path, optim_wrapper=dict(optimizer=dict(type='SDG', lr=0.1)))
    with pytest.raises(
        InputError, match=r'cannot download the checkpoint http://localhost:9/a\.pth'
    ):
        run(tmp_path, load_from='http://localhost:9/a.pth')


def test_one_run_in_a_folder(tmp_path):
    """Another process is refused, tests are not, and a run that was killed keeps nothing."""
    code = 'import fcntl, sys, time; f = open(sys.argv[1], "a+"); fcntl.lockf(f, fcntl.LOCK_EX); '
    code += 'f.write(\'{"process": 7, "host": "here"}\'); f.flush(); print(1, flush=True); '
    code += 'time.sleep(99)'
    other = subprocess.Popen(
        [sys.executable, '-c', code, tmp_path / 'run.lock'], stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        with pytest.raises(InputError, match=r'another run trains in .* \(process 7 on here\)'):
            run(tmp_path)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert len(run(tmp_path)) == 24 and len(run(tmp_path)) == 24


def test_signals_of_a_moment_are_one(monkeypatch):
    """torchrun hands on the signal that a scheduler has sent to all processes already."""
    request = StopRequest()
    # A process in the background of a shell ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.listen()
    try:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert request.name == 'SIGINT'
        monkeypatch.setattr('edgenext_mm.engine.signals.SAME', 0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        request.close()
        signal.signal(signal.SIGINT, before)


def test_signals_are_as_before(tmp_path, monkeypatch):
    """Whatever becomes of the run, also by mmengine's own Runner."""
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)]

    class Ask(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch):
            if runner.iter == 10:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run(tmp_path, Ask())
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)] == before
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == 'interim_iter_11.pth'
    stop(tmp_path, 12, resume=True)
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)] == before
    monkeypatch.setattr(short_runs, 'Runner', MMEngineRunner)
    run(tmp_path, checkpoint=dict(type='edgenext_mm.CheckpointHook'))
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)] == before


def test_record(tmp_path, monkeypatch):
    """The command line, the seed, versions, the state of the code, and the config as resolved."""
    code = tmp_path / 'code'
    code.mkdir()
    monkeypatch.chdir(code)
    git = ('git', '-c', 'user.name=a', '-c', 'user.email=a@b')
    (code / 'a.py').write_text('1\n')
    for command in (('init', '-q'), ('add', '.'), ('commit', '-qm', 'first')):
        subprocess.run([*git, *command], check=True)
    (code / 'a.py').write_text('2\n')
    (code / 'b.py').touch()
    run(tmp_path / 'work')
    (path,) = (tmp_path / 'work').glob('*/run.json')
    record = json.loads(path.read_text())
    assert record['command'][1:] == sys.orig_argv[1:] and record['seed'] == 11
    assert record['versions']['torch'] == torch.__version__
    assert record['versions']['edgenext_mm'] and record['threads'] == torch.get_num_threads()
    (state,) = (entry for entry in record['repositories'] if entry['folder'] == str(code))
    assert len(state['commit']) == 40 and state['untracked'] == ['b.py']
    assert '+2\n' in (path.parent / state['changes']).read_text()
    assert [*(tmp_path / 'work').glob('*.py')]


def test_operators_that_are_not_deterministic(tmp_path, said):
    class Undetermined(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            import warnings

            name = f'operator_{batch_idx % 2}'
            warnings.warn(f'{name} does not have a deterministic implementation, but', stacklevel=1)

    try:
        run(tmp_path, Undetermined(), randomness=dict(seed=0, deterministic=True))
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    for name in ('operator_0', 'operator_1'):
        assert said().count(f'{name} has no deterministic form') == 1
