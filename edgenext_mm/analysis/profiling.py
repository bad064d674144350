"""Where the time of training goes."""

import os
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from statistics import mean, median
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..checkpoint.files import find_damage
from ..datasets.image_size import SizedBatch
from ..engine.hooks import unwrapped
from ..errors import InputError

WARMUP = 2


class Stopwatch(defaultdict[str, float]):
    """Seconds that calls of functions took, by name.

    Example:
        >>> from edgenext_mm.analysis.profiling import Stopwatch
        >>> stopwatch = Stopwatch()
        >>> stopwatch.measured(sorted, 'sorting')([3, 1, 2])
        [1, 2, 3]
        >>> stopwatch['sorting'] > 0
        True
    """

    def __init__(self) -> None:
        super().__init__(float)

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        """Measure what is called as ``owner.attribute``."""
        setattr(owner, attribute, self.measured(getattr(owner, attribute), name))

    def measured(self, function: Callable, name: str) -> Callable:
        """Return a function that does what another does, and is measured."""

        @wraps(function)  # mmengine leaves marks on some functions
        def call(*args, **kwargs):
            start = _now()
            result = function(*args, **kwargs)
            self[name] += _now() - start
            return result

        return call


def table(title: str, times: dict[str, float]) -> str:
    """Return a table in Markdown of the milliseconds and shares of the parts of something.

    Args:
        title: what the parts make up.
        times: the seconds of each.

    Example:
        >>> from edgenext_mm.analysis.profiling import table
        >>> print(table('one iteration', {'forward pass': 0.1, 'backward pass': 0.3}))
        | one iteration | ms | share |
        |---|---|---|
        | forward pass | 100.00 | 25% |
        | backward pass | 300.00 | 75% |
        | all | 400.00 | 100% |
    """
    total = sum(times.values())
    lines = [f'| {title} | ms | share |', '|---|---|---|']
    for name, seconds in {**times, 'all': total}.items():
        lines.append(f'| {name} | {1e3 * seconds:.2f} | {seconds / total:.0%} |')
    return '\n'.join(lines)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def profile_transforms(
    dataset: BaseDataset, samples: int, size: int | None = None
) -> dict[str, float]:
    """Measure the transforms of a dataset, in this process.

    Args:
        dataset: with a pipeline of transforms, or a concatenation of such datasets, of which the
            first counts.
        samples: how many; from the first one again if the dataset has fewer.
        size: sides of the images in pixels, for transforms that a batch sampler tells it. Defaults
            to None.

    Returns:
        Mean seconds that each took for a sample, by the name of its class.
    """
    while hasattr(dataset, 'datasets'):
        dataset = dataset.datasets[0]
    stopwatch = Stopwatch()
    transforms = [
        stopwatch.measured(transform, type(transform).__name__)
        for transform in dataset.pipeline.transforms
    ]
    for index in SizedBatch(range(samples), size):
        sample = dataset.get_data_info(index % len(dataset))
        for transform in transforms:
            sample = transform(sample)
            if sample is None:  # to be replaced by another
                break
    return {name: seconds / samples for name, seconds in stopwatch.items()}


def profile_checkpoints(
    runner: Runner, checkpoints: int = 5
) -> tuple[int, dict[str, float], float]:
    """Measure how checkpoints of a run are saved, in its work directory, and remove them.

    Args:
        runner: the runner of the training; for all processes.
        checkpoints: how many. Defaults to 5.

    Returns:
        Their size in bytes, the median seconds that each part of saving took, and the median
        seconds in which the checksums are compared before a run resumes.
    """
    path = Path(runner.work_dir, 'profiled.pth')
    rows, compared = [], []
    try:
        for _ in range(checkpoints):
            stopwatch = Stopwatch()
            with ExitStack() as stack:
                for owner, attribute, name in (
                    (torch, 'save', 'into bytes, with checksums'),
                    (LocalBackend, 'put', 'written'),
                    (os, 'fsync', 'flushed to the disk'),
                ):
                    measured = stopwatch.measured(getattr(owner, attribute), name)
                    stack.enter_context(patch.object(owner, attribute, measured))
                text: Any = Config.pretty_text
                text = property(stopwatch.measured(text.fget, 'the config as text'))
                stack.enter_context(patch.object(Config, 'pretty_text', text))
                start = _now()
                runner.save_checkpoint(
                    runner.work_dir, path.name, backend_args=dict(backend='atomic_local')
                )
                seconds = _now() - start
            barrier()  # the first process writes
            stopwatch['other'] = seconds - sum(stopwatch.values())
            rows.append(stopwatch)
            start = _now()
            if (damage := find_damage(str(path))) is not None:
                raise InputError(f'{path} is damaged ({damage}): look at the disk')
            compared.append(_now() - start)
        size = path.stat().st_size
        barrier()
    finally:
        path.unlink(missing_ok=True)
    return size, {name: median(row[name] for row in rows) for name in rows[0]}, median(compared)


class Profiled(Exception):
    """Ends a run whose iterations have been measured."""


class ProfileHook(Hook):
    """Measures the parts of the iterations of a run.

    Args:
        iterations: how many, after two that are not measured.

    Raises:
        Profiled: when that is done.
        InputError: if the run ends before.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.stopwatch = Stopwatch()
        self.rows: list[dict[str, float]] = []

    def medians(self) -> dict[str, float]:
        """Return the median seconds of each part of an iteration.

        The optimizer steps once in several iterations where gradients are accumulated: its time is
        the mean.
        """
        names = dict.fromkeys(name for row in self.rows for name in row)
        times = {name: [row.get(name, 0.0) for row in self.rows] for name in names}
        return {
            name: (mean if name == 'optimizer' else median)(seconds)
            for name, seconds in times.items()
        }

    def before_train(self, runner: Runner) -> None:
        model, watch = unwrapped(runner.model), self.stopwatch.watch
        watch(model.data_preprocessor, 'forward', 'batch to the network')
        for name in ('backbone', 'neck'):
            if getattr(model, name, None) is not None:
                watch(getattr(model, name), 'forward', name)
        for name in ('bbox_head', 'decode_head', 'head'):
            if getattr(model, name, None) is not None:
                watch(getattr(model, name), 'loss', 'head and losses')
        watch(runner.optim_wrapper, 'backward', 'backward pass')
        for name in ('step', 'zero_grad'):
            watch(runner.optim_wrapper, name, 'optimizer')
        watch(runner, 'call_hook', 'hooks')
        self.run_iter = runner.train_loop.run_iter
        runner.train_loop.run_iter = self._run_iter
        self.end = _now()

    def after_train(self, runner: Runner) -> None:
        raise InputError(
            f'the run has {len(self.rows)} iterations, of which {WARMUP} warm up, and not '
            f'{self.iterations} more: give fewer --iterations, or train for longer'
        )

    def _run_iter(self, *args: Any) -> None:
        self.stopwatch.clear()
        self.stopwatch['waiting for data'] = _now() - self.end
        self.run_iter(*args)
        end = _now()
        self.stopwatch['other'] = end - self.end - sum(self.stopwatch.values())
        self.end = end
        self.rows.append(dict(self.stopwatch))
        if len(self.rows) == WARMUP + self.iterations:
            del self.rows[:WARMUP]
            raise Profiled
