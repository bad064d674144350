"""The demos' training, stopped at random again and again for as long as one has time."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, ROOT, SEG_CONFIGS, options, start_process
from killed_runs import EXACT, assert_same

from edgenext_mm.datasets.demo import make_demo_data
from edgenext_mm.errors import Interrupted

DEMOS = (
    CLS_CONFIGS / 'edgenext_xx_small_demo.py',
    CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
    SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
)
#: To the process that trains, or to its workers as well, as a terminal and a scheduler do.
STOPS = [(name, to_all) for name in ('SIGKILL', 'SIGTERM', 'SIGINT') for to_all in (False, True)]
#: The exit status, which is the signal's own until the tool, and then the Runner, handles it.
ENDS = {
    None: (),
    'SIGKILL': (-signal.SIGKILL,),
    'SIGTERM': (-signal.SIGTERM, Interrupted.STATUS),
    'SIGINT': (-signal.SIGINT, 130, Interrupted.STATUS),
}


@pytest.mark.soak
@pytest.mark.slow
def test_demos_that_are_stopped_again_and_again(tmp_path):
    """For ``SOAK_MINUTES``, by default one, and to the end of the run: each is as one in peace."""
    rng = random.Random(seed := int(os.environ.get('SOAK_SEED', time.time())))
    print(f'SOAK_SEED={seed}', flush=True)
    make_demo_data(tmp_path / 'data')
    # The runs would inherit it ignored from a shell's command in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    done, stops = Counter(), Counter()
    end = time.monotonic() + 60 * float(os.environ.get('SOAK_MINUTES', 1))
    for config in cycle(DEMOS):
        calm, stopped = (tmp_path / f'{config.stem}_{name}' for name in ('calm', 'stopped'))
        if not calm.exists():
            assert train(config, calm, tmp_path).wait(3600) == 0, said(calm)
        before = stops.total()
        while True:
            name, process = None, train(config, stopped, tmp_path)
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(rng.expovariate(1 / 120))
                if process.poll() is None:
                    name, to_all = rng.choice(STOPS)
                    stops[f'{name} to {"all" if to_all else "one"}'] += 1
                    (os.killpg if to_all else os.kill)(process.pid, signal.Signals[name])
                status = process.wait(120)
                wait_for_workers(process.pid)
            finally:
                with suppress(ProcessLookupError):  # where all have ended
                    os.killpg(process.pid, signal.SIGKILL)
            if status == 0:
                break
            assert status in ENDS[name], said(stopped)
        got, expected = (
            torch.load((run / 'last_checkpoint').read_text(), weights_only=False)
            for run in (stopped, calm)
        )
        assert_same(*({key: state[key] for key in EXACT} for state in (got, expected)))
        done[config.stem] += 1
        print(time.strftime('%X'), f'{config.stem}: {stops.total() - before} stops', flush=True)
        os.rename(stopped, tmp_path / f'{config.stem}_{done[config.stem]}')
        if time.monotonic() > end:
            break
    print('runs', dict(done), 'stops', dict(stops))


def train(config, work_dir, folder):
    """Start the training tool as the leader of a group of processes."""
    with open(f'{work_dir}.txt', 'a') as output:
        return start_process(
            *('setsid', 'python', ROOT / 'tools' / 'train.py', config, '--resume'),
            *('--work-dir', work_dir),
            *options({'default_hooks.checkpoint.minutes': 0.5, 'randomness.seed': 5}),
            cwd=folder,
            data_root=folder / 'data',
            stdout=output,
        )


def said(work_dir):
    return Path(f'{work_dir}.txt').read_text()[-5000:]


def wait_for_workers(group):
    """Wait for the processes of a group to end, which the one that trains may leave behind."""
    end = time.monotonic() + 60
    with suppress(ProcessLookupError):  # when it has none
        while True:
            os.killpg(group, 0)
            assert time.monotonic() < end, group
            time.sleep(0.2)
