"""The time of training alone on a machine, and in the company of other busy processes."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import mean, median

from ..errors import InputError
from .logs import read_scalars

WARMUP = 3
# What a thread library takes from the environment.
_THREADS = ('OMP_', 'GOMP_', 'KMP_', 'MKL_')

Times = dict[str, dict[int, list[float]]]


def measure_company(
    command: Sequence[str],
    settings: Sequence[str],
    busy: Sequence[int] = (0, 1, 2),
    rounds: int = 3,
) -> Times:
    """Train with each setting, alone and beside busy processes, in shuffled order.

    Args:
        command: command line of a training run that logs each iteration, without its work
            directory, which is appended.
        settings: variables of the environment such as 'OMP_NUM_THREADS=1,GOMP_SPINCOUNT=0', or
            'default' for none. Those for threads that the environment has already are left out.
        busy: numbers of processes beside the training that keep one core busy each.
        rounds: how often each combination is measured.

    Returns:
        The seconds per iteration by setting and number of busy processes, a mean for each round.

    Raises:
        InputError: if a run fails; the message has the end of its output.
    """
    times: Times = {setting: {count: [] for count in busy} for setting in settings}
    combinations = [(setting, count) for setting in settings for count in busy]
    order = random.Random(0)
    for _ in range(rounds):
        for setting, count in order.sample(combinations, len(combinations)):
            times[setting][count].append(_train(command, setting, count))
    return times


def _train(command: Sequence[str], setting: str, busy: int) -> float:
    """Return the mean seconds of an iteration."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_THREADS)}
    if setting != 'default':
        env |= dict(variable.split('=', 1) for variable in setting.split(','))
    with ExitStack() as stack:
        work_dir = stack.enter_context(tempfile.TemporaryDirectory())
        for _ in range(busy):
            process = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
            stack.callback(process.wait)
            stack.callback(process.kill)
        run = subprocess.run(
            [*command, '--work-dir', work_dir],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if run.returncode:
            end = '\n'.join(run.stdout.splitlines()[-10:])
            raise InputError(f'training with {setting} failed:\n{end}')
        train, _ = read_scalars(work_dir)
    seconds = [row['time'] for row in train.values()][WARMUP:]
    if not seconds:
        raise InputError(f'training has {len(train)} iterations, of which {WARMUP} warm up')
    return mean(seconds)


def table(times: Times) -> str:
    """Return a table in Markdown: medians of the rounds, and ratios to the fastest setting alone.

    Args:
        times: what :func:`measure_company` returns, with 0 among the numbers of busy processes.

    Example:
        >>> from edgenext_mm.analysis.company import table
        >>> print(table({'default': {0: [0.2], 1: [1.0]}, 'passive': {0: [0.25], 1: [0.4]}}))
        | setting | alone (s) | beside 1 (s) | alone | beside 1 |
        |---|---|---|---|---|
        | default | 0.200 | 1.000 | 1.00 | 5.00 |
        | passive | 0.250 | 0.400 | 1.25 | 2.00 |
    """
    medians = {
        setting: {count: median(seconds) for count, seconds in by_count.items()}
        for setting, by_count in times.items()
    }
    best = min(by_count[0] for by_count in medians.values())
    names = [f'beside {count}' if count else 'alone' for count in next(iter(times.values()))]
    header = ['setting', *(f'{name} (s)' for name in names), *names]
    lines = [f'| {" | ".join(header)} |', '|---' * len(header) + '|']
    for setting, by_count in medians.items():
        cells = [f'{seconds:.3f}' for seconds in by_count.values()]
        cells += [f'{seconds / best:.2f}' for seconds in by_count.values()]
        lines.append(f'| {setting} | {" | ".join(cells)} |')
    return '\n'.join(lines)
