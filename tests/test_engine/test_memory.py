"""Long runs do not grow: the process that trains and its workers."""

import gc
import re
import time
from collections import defaultdict
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from statistics import median

import psutil
import pytest
from conftest import CLS_CONFIGS, CONFIGS, ROOT, SEG_CONFIGS, options, start_process
from mmengine.hooks import Hook
from short_runs import stop

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.datasets.demo import make_demo_data
from edgenext_mm.errors import InputError

START, END, LOGGED = 200, 2000, 10
#: A validation, with workers of its own that stay, comes before the START.
LENGTHS = (
    {'train_cfg.max_epochs': END, 'train_cfg.val_interval': 2},
    {'train_cfg.max_iters': END, 'train_cfg.val_interval': 100},
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    make_demo_data(folder)
    return folder


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'length'),
    [
        # At several sizes of images.
        (CLS_CONFIGS / 'edgenext_xx_small_demo.py', LENGTHS[0]),
        (CONFIGS / 'ssdlite_edgenext_xx_small_demo.py', LENGTHS[0]),
        (SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py', LENGTHS[1]),
    ],
    ids=['classification', 'detection', 'segmentation'],
)
def test_memory_stays(tmp_path, data, config, length):
    """At the end within 3% of that after 200 iterations, in the medians of 50 iterations."""
    with open(tmp_path / 'output.txt', 'w') as output:
        process = start_process(
            *('python', ROOT / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'run'),
            *options(length | {'default_hooks.logger.interval': LOGGED}),
            cwd=tmp_path,
            data_root=data,
            stdout=output,
        )
    # Of each 50 iterations, the MiB of each process.
    sizes = defaultdict(list)
    iteration, end = 0, time.monotonic() + 7200
    try:
        while iteration < END:
            assert process.poll() is None, (tmp_path / 'output.txt').read_text()[-5000:]
            assert time.monotonic() < end, iteration
            with suppress(InputError, JSONDecodeError):  # before a line of the log is whole
                iteration = max(read_scalars(tmp_path / 'run')[0], default=0)
            sizes[iteration // 50 * 50].append(memory(process.pid))
            time.sleep(1)
    finally:
        process.terminate()  # and so its workers
        process.wait()
    table = {number: medians(values) for number, values in sizes.items()}
    for number, row in table.items():
        print(f'iteration {number}: {sum(row.values())} MiB, {row}', flush=True)
    start, end = table[START], table[END - 50]
    assert start.keys() == end.keys(), table
    assert sum(end.values()) < 1.03 * sum(start.values()), (start, end)


def memory(pid):
    """Return the resident MiB of a process and its workers, with what they share counted once.

    The workers of the training come first, as they are started. What is mapped from files, such as
    PyTorch's libraries, is that of the process: its parts would depend on what else runs on the
    machine.
    """
    process = psutil.Process(pid)
    workers = sorted(process.children(recursive=True), key=lambda one: (one.create_time(), one.pid))
    sizes = {}
    with suppress(OSError, KeyError):  # for one that has just ended, as below
        sizes['files'] = rows(pid, 'status')['RssFile']
    for number, one in enumerate((process, *workers)):
        with suppress(OSError):
            parts = rows(one.pid, 'smaps_rollup')
            name = f'worker {number}' if number else 'training'
            sizes[name] = parts['Pss_Anon'] + parts['Pss_Shmem']
    return sizes


def rows(pid, file):
    """Return the sizes in a file of /proc, in MiB."""
    found = re.findall(r'(\w+):\s+(\d+) kB', Path(f'/proc/{pid}/{file}').read_text())
    return {name: int(size) / 1024 for name, size in found}


def medians(samples):
    """Return the median MiB of each process that most of the samples have."""
    names = [name for name in samples[-1] if sum(name in one for one in samples) > len(samples) / 2]
    return {name: round(median(one[name] for one in samples if name in one)) for name in names}


@pytest.mark.parametrize('by_epoch', [True, False])
def test_what_workers_share(tmp_path, by_epoch):
    """The garbage collector does not write to it as long as a run lasts, also one that fails."""
    frozen = []

    class Count(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            frozen.append(gc.get_freeze_count())

    stop(tmp_path, 2, Count(), by_epoch=by_epoch)
    assert min(frozen) > 100_000 and gc.get_freeze_count() == 0
