"""Where the time of training goes."""

import time
from collections import Counter
from statistics import mean, median

import torch
from mmengine.hooks import Hook

from ..engine.hooks import unwrapped
from ..errors import InputError

WARMUP = 2


class Stopwatch(Counter):
    """Seconds that calls of functions took, by name."""

    def watch(self, owner, attribute, name):
        """Measure what is called as ``owner.attribute``."""
        setattr(owner, attribute, self.measured(getattr(owner, attribute), name))

    def measured(self, function, name):
        """Return a function that does what another does, and is measured."""

        def call(*args, **kwargs):
            start = _now()
            result = function(*args, **kwargs)
            self[name] += _now() - start
            return result

        return call


def _now():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def profile_transforms(dataset, samples):
    """Measure the transforms of a data set, in this process.

    Args:
        dataset (BaseDataset): with a pipeline of transforms, or a concatenation of such data sets,
            of which the first counts.
        samples (int): how many; from the first one again if the data set has fewer.

    Returns:
        dict[str, float]: mean seconds that each took for a sample, by the name of its class.
    """
    while hasattr(dataset, 'datasets'):
        dataset = dataset.datasets[0]
    stopwatch = Stopwatch()
    transforms = [
        stopwatch.measured(transform, type(transform).__name__)
        for transform in dataset.pipeline.transforms
    ]
    for index in range(samples):
        sample = dataset.get_data_info(index % len(dataset))
        for transform in transforms:
            sample = transform(sample)
            if sample is None:  # to be replaced by another
                break
    return {name: seconds / samples for name, seconds in stopwatch.items()}


class Profiled(Exception):
    """Ends a run whose iterations have been measured."""


class ProfileHook(Hook):
    """Measures the parts of the iterations of a run.

    Args:
        iterations (int): how many, after two that are not measured.

    Raises:
        Profiled: when that is done.
        InputError: if the run ends before.
    """

    def __init__(self, iterations):
        self.iterations = iterations
        self.stopwatch = Stopwatch()
        self.rows = []

    def medians(self):
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

    def before_train(self, runner):
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

    def after_train(self, runner):
        raise InputError(
            f'the run has {len(self.rows)} iterations, of which {WARMUP} warm up, and not '
            f'{self.iterations} more: give fewer --iterations, or train for longer'
        )

    def _run_iter(self, *args):
        self.stopwatch.clear()
        self.stopwatch['waiting for data'] = _now() - self.end
        self.run_iter(*args)
        end = _now()
        self.stopwatch['other'] = end - self.end - self.stopwatch.total()
        self.end = end
        self.rows.append(dict(self.stopwatch))
        if len(self.rows) == WARMUP + self.iterations:
            del self.rows[:WARMUP]
            raise Profiled
