"""Time and memory of models, measured side by side."""

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope

from .candidates import Candidate, build_candidates, export_candidate
from .complexity import count_complexity
from .exported import ExportedFile, shape_for
from .metrics import Tested

WARMUP = 3
# Seconds between the calls of two processes, until the threads of the first are asleep: OpenMP's,
# and those of ONNX Runtime, which look for work for a tenth of a second.
PAUSE, LONG_PAUSE = 0.02, 0.2


@dataclass
class Result:
    """What was measured of a model.

    Attributes:
        name: how tables call it.
        rival: group of models that all times are compared with; none if empty.
        parameters: their number.
        multiply_adds: their number, for one image.
        seconds: of each call.
        memory: the most bytes that were allocated at a time in a call, weights not counted.
        file: of exported files, the file.

    Example:
        >>> from edgenext_mm.analysis.benchmark import Result
        >>> result = Result('edgenext_mm, eager', seconds=[0.02, 0.03, 0.02, 0.02])
        >>> result.median
        0.02
        >>> round(result.spread, 3)
        0.375
    """

    name: str
    rival: str = ''
    parameters: int = 0
    multiply_adds: int = 0
    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    file: ExportedFile | None = None

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The middle half of the calls: third less first quartile, over the median."""
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return (third - first) / self.median


def benchmark(
    cfg: Config,
    prepare: Callable[[], None],
    batch_size: int = 1,
    shape: tuple[int, int] = (256, 256),
    threads: int = 2,
    runs: int = 20,
    backward: bool = False,
    against: Path | None = None,
    exported: Sequence[ExportedFile] = (),
    **options: Any,
) -> tuple[list[Result], dict[str, float]]:
    """Call models in turn, in shuffled order, and note how long each call takes.

    The models are built in a process of their own. Those of another checkout of this package are in
    a second one, so that each has its own package, threads and memory, and each exported file is in
    one more. Only one of them works at a time.

    Args:
        cfg: config of the model.
        prepare: is called first in each process; a function that can be pickled.
        batch_size: the number of images.
        shape: height and width of the images in pixels.
        threads: the number of PyTorch's threads.
        runs: calls of each model that count, after three that do not, and of matrix products.
        backward: go back to the parameters' gradients as well.
        against: folder of another checkout, whose models are measured as well.
        exported: files to measure as well, and beside them the peers, exported by
            torch.onnx.export, in the runtimes of ONNX files that these files are in. Every second
            call of each model counts then.
        **options: see :func:`~.candidates.build_candidates`. Peers are built once.

    Returns:
        A result for each model, and the speed of matrix products, see :func:`measure_peaks`.
    """
    with ExitStack() as stack:
        channels = cfg.model.backbone.get('in_channels', 3)
        images = (batch_size, channels, *shape)
        built: list[tuple[ProcessPoolExecutor, int, Result]] = []
        for checkout in (None,) if against is None else (None, against):
            worker = stack.enter_context(
                ProcessPoolExecutor(1, get_context('spawn'), _start, (prepare, checkout))
            )
            options['peers'] = () if checkout else options.get('peers', ())
            models = worker.submit(_build, cfg, images, threads, backward, checkout, options)
            built += [(worker, index, result) for index, result in enumerate(models.result())]
        files = [(Result(file.path.name, file=file), file) for file in exported]
        if exported:
            folder = stack.enter_context(TemporaryDirectory())
            files += _open_peers(built, exported, folder, threads, stack)
        turns: list[tuple[Result, Callable[[], float]]] = [
            *((result, partial(_submit, worker, _call, index)) for worker, index, result in built),
            *((result, file.seconds) for result, file in files),
        ]
        for _, file in files:
            file.set_images(images)
        pause = LONG_PAUSE if files else PAUSE if against else 0
        _take_turns(turns, runs, pause, wake=bool(files))
        for worker, index, result in built:
            result.memory, result.parameters, result.multiply_adds = _submit(
                worker, _inspect, index
            )
        peaks = _submit(built[0][0], partial(measure_peaks, runs=runs))
        return [result for result, _ in turns], peaks


def benchmark_files(paths: Sequence[str | Path], threads: int = 2, runs: int = 20) -> list[Result]:
    """Call exported files in turn, in shuffled order, and note how long each call takes.

    Args:
        paths: files of one task that take one image of one size.
        threads: of each runtime.
        runs: calls of each file that count, after three that do not.

    Returns:
        A result for each file, in their order.

    Raises:
        InputError: if a file cannot be opened, or they do not take the same images.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(ExportedFile(path, threads)) for path in paths]
        shape = shape_for(files, None, [1])
        for file in files:
            file.set_images((1, file.metadata['input']['channels'], *shape))
        results = [Result(file.path.name, file=file) for file in files]
        calls = [file.seconds for file in files]
        _take_turns([*zip(results, calls, strict=True)], runs, LONG_PAUSE, wake=True)
    return results


def _take_turns(
    turns: Sequence[tuple[Result, Callable[[], float]]], runs: int, pause: float, wake: bool
) -> None:
    for _, call in turns:
        for _ in range(WARMUP):
            call()
    order = random.Random(0)
    for _ in range(runs):
        for result, call in order.sample(turns, len(turns)):
            time.sleep(pause)
            if wake:  # a device does not pause: threads and processors are awake there
                call()
            result.seconds.append(call())


def _submit(worker: ProcessPoolExecutor, function: Callable, *args: Any) -> Any:
    return worker.submit(function, *args).result()


def _open_peers(
    built: Sequence[tuple[ProcessPoolExecutor, int, Result]],
    exported: Sequence[ExportedFile],
    folder: str,
    threads: int,
    stack: ExitStack,
) -> list[tuple[Result, ExportedFile]]:
    """Export the peers among the models, and open them in the runtimes of other files."""
    settings = dict.fromkeys(
        file.setting for file in exported if file.runtime in ('onnxruntime', 'openvino')
    )
    peers = []
    for worker, index, result in built if settings else ():
        if result.rival and not result.rival.startswith('compiled'):
            path = f'{folder}/{result.name}.onnx'
            _submit(worker, _export, index, path)
            for runtime, asked in settings:
                file = stack.enter_context(ExportedFile(path, threads, runtime, asked))
                peers.append((Result(result.name, result.rival, file=file), file))
    return peers


# What a process measures: see _build.
_candidates: list[Candidate]
_images: torch.Tensor
_backward: bool


def _start(prepare: Callable[[], None], checkout: Path | None) -> None:
    prepare()
    if checkout is not None:
        # From now on the package is imported from there, all but the modules that measure.
        del sys.modules[__name__.partition('.')[0]]
        sys.path.insert(0, str(checkout))


def _build(
    cfg: Config,
    images: Sequence[int],
    threads: int,
    backward: bool,
    checkout: Path | None,
    options: dict[str, Any],
) -> list[Result]:
    global _candidates, _images, _backward
    torch.set_num_threads(threads)
    init_default_scope(cfg.default_scope)
    _images, _backward = torch.randn(*images), backward
    _candidates = build_candidates(cfg, _images, backward=backward, **options)
    if checkout is not None:
        for candidate in _candidates:
            candidate.name = candidate.name.replace('edgenext_mm', checkout.name)
            candidate.rival = candidate.name
    return [Result(candidate.name, candidate.rival) for candidate in _candidates]


def _call(index: int) -> float:
    return _candidates[index].seconds(_images, _backward)


def _export(index: int, path: str) -> None:
    export_candidate(_candidates[index], _images, path)


def _inspect(index: int) -> tuple[int, int, int]:
    candidate, (height, width) = _candidates[index], _images.shape[2:]
    memory = candidate.memory(_images, _backward)
    return memory, *count_complexity(candidate.model, (height, width))['model']


def measure_peaks(sizes: Sequence[int] = (256, 512, 1024), runs: int = 30) -> dict[str, float]:
    """Return the multiply-adds per second of PyTorch's two float32 matrix products.

    Args:
        sizes: rows and columns of the matrices, of which the fastest counts.
        runs: calls, whose median counts.

    Returns:
        The speed of torch.mm by 'MKL' ('BLAS' where PyTorch has another), and that of a convolution
        with kernel 1x1 by 'oneDNN'.

    Example:
        >>> from edgenext_mm.analysis.benchmark import measure_peaks
        >>> peaks = measure_peaks(sizes=(64,), runs=3)
        >>> len(peaks), min(peaks.values()) > 1e7
        (2, True)
    """
    blas = 'MKL' if torch.backends.mkl.is_available() else 'BLAS'
    peaks = {blas: 0.0, 'oneDNN': 0.0}
    for size in sizes:
        a = torch.randn(size, size)
        image = a.reshape(1, size, 16, -1).contiguous(memory_format=torch.channels_last)
        kernel = a[:, :, None, None]
        peaks[blas] = max(peaks[blas], size**3 / _median_seconds(runs, torch.mm, a, a))
        seconds = _median_seconds(runs, F.conv2d, image, kernel)
        peaks['oneDNN'] = max(peaks['oneDNN'], size**3 / seconds)
    return peaks


@torch.no_grad()
def _median_seconds(runs: int, function: Callable, *args: torch.Tensor) -> float:
    function(*args)
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function(*args)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def table(results: Sequence[Result], peak: float, batch_size: int, backward: bool = False) -> str:
    """Return a table in Markdown of what was measured.

    Args:
        results: a row each; ratios are to the fastest of a group of rivals.
        peak: multiply-adds per second of the fastest matrix product.
        batch_size: as in :func:`benchmark`.
        backward: as in :func:`benchmark`; it counts as twice the forward pass.

    Example:
        >>> from edgenext_mm.analysis.benchmark import Result, table
        >>> ours = Result('ours', '', 5_280_000, 1_260_000_000, [0.015, 0.015], 2**22)
        >>> peer = Result('timm', 'timm', 5_280_000, 1_260_000_000, [0.02, 0.02], 2**23)
        >>> for line in table([ours, peer], peak=2e11, batch_size=1).splitlines()[2:]:
        ...     print(line)
        | ours | 5.28 | 1.26 | 15.0 | 0 | 66.7 | 42 | 4 | 0.75 |
        | timm | 5.28 | 1.26 | 20.0 | 0 | 50.0 | 32 | 8 | 1.00 |
    """
    rivals: dict[str, float] = {}
    for result in results:
        if result.rival:
            fastest = min(result.median, rivals.get(result.rival, result.median))
            rivals[result.rival] = fastest
    header = ['model', 'parameters (M)', 'MAdds (G)', 'ms', 'spread (%)', 'images/s']
    header += ['of the peak (%)', 'memory (MiB)', *(f'over {rival}' for rival in rivals)]
    lines = [f'| {" | ".join(header)} |', '|---' * len(header) + '|']
    for result in results:
        work = result.multiply_adds * batch_size * (3 if backward else 1)
        cells = [
            result.name,
            f'{result.parameters / 1e6:.2f}',
            f'{result.multiply_adds / 1e9:.2f}',
            f'{result.median * 1e3:.1f}',
            f'{result.spread * 100:.0f}',
            f'{batch_size / result.median:.1f}',
            f'{100 * work / result.median / peak:.0f}',
            f'{result.memory / 2**20:.0f}',
            *(f'{result.median / median:.2f}' for median in rivals.values()),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def exported_table(
    results: Sequence[Result], batch_size: int, threads: int, tests: Sequence[Tested] = ()
) -> str:
    """Return a table in Markdown of exported files and the models that were measured with them.

    Args:
        results: a row each. Ratios are to the peer in the same runtime, with the same precision
            asked for, and to the peer in PyTorch.
        batch_size: as in :func:`benchmark`.
        threads: as in :func:`benchmark`.
        tests: of the files, whose metrics are in the rows of the same file, runtime and precision.
            Others are named below the table.
    """
    rivals = {_setting(result): result.median for result in results if result.rival}
    peer = next((result.rival for result in results if result.rival), '')
    peer = 'timm' if peer == 'EdgeNeXt' else peer
    metrics = [*dict.fromkeys(test.metric for test in tests)]
    header = ['model', 'runtime', 'threads', 'precision', 'size (MiB)', 'ms', 'spread (%)']
    header += ['images/s', *metrics]
    if peer:
        header += [f'over {peer}, same runtime', f'over {peer} in PyTorch']
    lines = [f'| {" | ".join(header)} |', '|---' * len(header) + '|']
    others = [*tests]
    for result in results:
        file = result.file
        test = file.test_among(tests) if file else None
        others = [other for other in others if other is not test]
        cells = [
            result.name,
            file.runtime if file else 'PyTorch',
            str(threads),
            file.precision if file else 'float32',
            f'{(file.bytes if file else 4 * result.parameters) / 2**20:.1f}',
            f'{result.median * 1e3:.1f}',
            f'{result.spread * 100:.0f}',
            f'{batch_size / result.median:.1f}',
            *(f'{test.value:.4g}' if test and test.metric == name else '' for name in metrics),
        ]
        if peer:
            for setting in (_setting(result), _PYTORCH):
                over = rivals.get(setting)
                cells.append(f'{result.median / over:.2f}' if over else '')
        lines.append(f'| {" | ".join(cells)} |')
    lines += [
        f'\n{other.metric} of {Path(other.file).name} in {other.runtime}, {other.precision}: '
        f'{other.value:.4g}'
        for other in others
    ]
    return '\n'.join(lines)


_PYTORCH = 'PyTorch', None


def _setting(result: Result) -> tuple[str, str | None]:
    """Return in which runtime a model was measured, and how."""
    if result.file:
        return result.file.setting
    return ('PyTorch', 'compiled') if result.name.endswith(', compiled') else _PYTORCH
