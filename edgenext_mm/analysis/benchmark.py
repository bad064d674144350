"""Time and memory of models, measured side by side in one process."""

import random
import statistics
import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from .complexity import count_complexity


@dataclass
class Candidate:
    """A model to measure.

    Attributes:
        name (str): how tables call it.
        model (nn.Module): the model.
        function (callable): maps images (N, 3, H, W) to tensors, nested as they may be.
        rival (str): group of models of others that all times are compared with. Defaults to none.
        seconds (list[float]): per call.
        memory (int): the most bytes that were allocated at a time in a call, weights not counted.
    """

    name: str
    model: torch.nn.Module
    function: object
    rival: str = ''
    seconds: list = field(default_factory=list)
    memory: int = 0

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def spread(self):
        """The middle half of the calls: third less first quartile, over the median."""
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return (third - first) / self.median


def measure(candidates, images, backward=False, runs=20, warmup=3):
    """Call the candidates by turns, in ever other orders, and note how long each call takes.

    Args:
        candidates (list[Candidate]): get their ``seconds`` and ``memory``.
        images (Tensor): the input, (N, 3, H, W).
        backward (bool): go back to the parameters' gradients as well. Defaults to False.
        runs (int): calls of each candidate that count. Defaults to 20.
        warmup (int): calls of each before those. Defaults to 3.
    """

    def call(candidate):
        with torch.set_grad_enabled(backward):
            outputs = candidate.function(images)
            if backward:
                sum(x.square().mean() for x in _tensors(outputs)).backward()
                candidate.model.zero_grad()

    for candidate in candidates:
        for _ in range(warmup):
            call(candidate)
    order = random.Random(0)
    for _ in range(runs):
        for candidate in order.sample(candidates, len(candidates)):
            start = time.perf_counter()
            call(candidate)
            candidate.seconds.append(time.perf_counter() - start)
    for candidate in candidates:
        candidate.memory = _peak_memory(lambda candidate=candidate: call(candidate))


def measure_matmul_peak(sizes=(256, 512, 1024), runs=30):
    """Return the multiply-adds per second of the fastest float32 matrix product that there is.

    This is that of MKL, behind torch.mm, or of oneDNN, behind a convolution of kernel 1x1, of one
    of the sizes, in a median of the runs.
    """
    return max(_matmul_rate(size, runs) for size in sizes)


@torch.no_grad()
def _matmul_rate(size, runs):
    a = torch.randn(size, size)
    image = a.reshape(1, size, 16, -1).contiguous(memory_format=torch.channels_last)
    kernel = a[:, :, None, None]
    medians = []
    for product in (lambda: a @ a, lambda: F.conv2d(image, kernel)):
        product()
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            product()
            seconds.append(time.perf_counter() - start)
        medians.append(statistics.median(seconds))
    return size**3 / min(medians)


def table(candidates, images, peak, backward=False):
    """Return a table in Markdown of what was measured.

    Args:
        candidates (list[Candidate]): a row each; ratios are to the fastest of a group of rivals.
        images (Tensor): what they were measured with.
        peak (float): see :func:`measure_matmul_peak`.
        backward (bool): as in :func:`measure`; it counts as twice the forward pass.
    """
    rivals = {candidate.rival: [] for candidate in candidates if candidate.rival}
    for candidate in candidates:
        if candidate.rival:
            rivals[candidate.rival].append(candidate.median)
    header = ['model', 'parameters (M)', 'MAdds (G)', 'ms', 'spread (%)', 'images/s']
    header += ['of the peak (%)', 'memory (MiB)', *(f'over {rival}' for rival in rivals)]
    lines = [f'| {" | ".join(header)} |', '|---' * len(header) + '|']
    counts = {}
    for candidate in candidates:
        if id(candidate.model) not in counts:
            shape = images.shape[2:]
            counts[id(candidate.model)] = count_complexity(candidate.model, shape)['model']
        parameters, multiply_adds = counts[id(candidate.model)]
        work = multiply_adds * len(images) * (3 if backward else 1)
        cells = [
            candidate.name,
            f'{parameters / 1e6:.2f}',
            f'{multiply_adds / 1e9:.2f}',
            f'{candidate.median * 1e3:.1f}',
            f'{candidate.spread * 100:.0f}',
            f'{len(images) / candidate.median:.1f}',
            f'{100 * work / candidate.median / peak:.0f}',
            f'{candidate.memory / 2**20:.0f}',
            *(f'{candidate.median / min(medians):.2f}' for medians in rivals.values()),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _tensors(outputs):
    if isinstance(outputs, torch.Tensor):
        yield outputs
    else:
        for item in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(item)


def _peak_memory(call):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == '[memory]']
    current = peak = 0
    # PyTorch before 2.2 has microseconds.
    for event in sorted(
        events, key=lambda e: e.start_ns() if hasattr(e, 'start_ns') else e.start_us()
    ):
        current += event.nbytes()
        peak = max(peak, current)
    return peak
