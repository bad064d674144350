"""Long runs do not grow: the process that trains and its workers."""

import time
from contextlib import suppress
from json import JSONDecodeError
from statistics import median

import psutil
import pytest
from conftest import CLS_CONFIGS, CONFIGS, ROOT, options, start_process

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.datasets.demo import make_demo_data
from edgenext_mm.errors import InputError

START, END, LOGGED = 200, 2000, 10


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize(
    'config',
    [
        CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
        # At several sizes of images.
        CLS_CONFIGS / 'edgenext_xx_small_demo.py',
    ],
    ids=['detection', 'classification'],
)
def test_memory_stays(tmp_path, config):
    """At the end within 3% of that after 200 iterations, in the medians of 50 iterations."""
    make_demo_data(tmp_path / 'data')
    settings = {
        'train_cfg.max_epochs': END,
        'train_cfg.val_interval': 5,
        'default_hooks.logger.interval': LOGGED,
    }
    with open(tmp_path / 'output.txt', 'w') as output:
        process = start_process(
            *('python', ROOT / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'run'),
            *options(settings),
            cwd=tmp_path,
            data_root=tmp_path / 'data',
            stdout=output,
        )
    sizes, iteration, end = {}, 0, time.monotonic() + 7200
    try:
        while iteration < END:
            assert process.poll() is None, (tmp_path / 'output.txt').read_text()[-5000:]
            assert time.monotonic() < end, iteration
            with suppress(InputError, JSONDecodeError):  # before a line of the log is whole
                iteration = max(read_scalars(tmp_path / 'run')[0], default=0)
            sizes.setdefault(iteration // 50, []).append(memory(process.pid))
            time.sleep(1)
    finally:
        process.terminate()  # and so its workers
        process.wait()
    for number, values in sizes.items():
        print(f'iteration {50 * number}: {median(values):.0f} MiB')
    start, end = (median(sizes[key // 50]) for key in (START, END - 50))
    assert end < 1.03 * start


def memory(pid):
    """Return what a process and its children hold in MiB, with what they share counted once."""
    total = 0
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):  # for one that has just ended
            total += one.memory_full_info().pss
    return total / 2**20
