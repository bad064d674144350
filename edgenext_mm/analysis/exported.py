"""Exported files in their runtimes, each in a process of its own, to be timed.

Runtimes that share a process disturb each other: the threads of each look for work for a while
after it is done. Nothing here imports PyTorch, of whose threads the same is true.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import InputError
from ..export.files import open_session
from .metrics import Tested, digest, precision_of, size_of


class ExportedFile:
    """An exported file that is open in a process of its own until its context ends.

    Args:
        path: the file, or the folder of ncnn.
        threads: of the runtime.
        runtime: such as 'openvino'. Defaults to that of the suffix.
        asked: precision to ask OpenVINO for, such as 'f32'. Defaults to its own choice.

    Attributes:
        metadata: what the file says about itself.
        runtime: in which it is open.
        precision: see :func:`~.metrics.precision_of`.
        bytes: its size.

    Raises:
        InputError: if the file cannot be opened, or ends its process.
    """

    def __init__(
        self, path: str | Path, threads: int, runtime: str | None = None, asked: str | None = None
    ) -> None:
        self.path, self.threads, self.asked = Path(path), threads, asked
        self.worker = ProcessPoolExecutor(1, get_context('spawn'))
        try:
            self.metadata, self.runtime, self.precision = self._submit(
                _open, str(path), runtime, threads, asked
            )
            self.bytes = size_of(path)
        except BaseException:
            self.worker.shutdown()
            raise

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, *error: object) -> None:
        """End its process."""
        self.worker.shutdown()

    @property
    def setting(self) -> tuple[str, str | None]:
        """The runtime, and the precision it was asked for."""
        return self.runtime, self.asked

    def set_images(self, shape: Sequence[int]) -> None:
        """Make random images, (N, C, H, W), for :meth:`seconds`."""
        self._submit(_set_images, tuple(shape))

    def seconds(self) -> float:
        """Run the file on the images, and return how long that takes."""
        return self._submit(_call)

    def test_among(self, tests: Sequence[Tested]) -> Tested | None:
        """Return the test that ran this file in this way, if there was one."""
        wanted = (digest(self.path), self.runtime, self.precision)
        ran = (test for test in tests if (test.sha256, test.runtime, test.precision) == wanted)
        return next(ran, None)

    def _submit(self, function: Any, *args: Any) -> Any:
        try:
            return self.worker.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise InputError(
                f'{self.path} has ended the process of its runtime: export it again, or leave it '
                'out'
            ) from error


def open_files(
    paths: Sequence[str | Path], threads: int, runtimes: Sequence[str] = ()
) -> list[ExportedFile]:
    """Open exported files, each in its runtimes.

    OpenVINO has a file a second time in float32 where its own choice is bfloat16.

    Args:
        paths: the files.
        threads: of each runtime.
        runtimes: of .onnx files. Defaults to ONNX Runtime alone.

    Raises:
        InputError: if one cannot be opened.
    """
    files: list[ExportedFile] = []
    try:
        for path in paths:
            for runtime in runtimes if Path(path).suffix == '.onnx' and runtimes else (None,):
                files.append(ExportedFile(path, threads, runtime))
                if files[-1].precision.endswith(', bfloat16'):
                    files.append(ExportedFile(path, threads, runtime, 'f32'))
    except BaseException:
        for file in files:
            file.worker.shutdown()
        raise
    return files


def shape_for(
    files: Sequence[ExportedFile], shape: Sequence[int] | None, batch_sizes: Sequence[int]
) -> tuple[int, int]:
    """Return height and width of the images that all files take.

    Args:
        files: the files.
        shape: what the user wants; None for that of the files, or 256x256 if all are free.
        batch_sizes: numbers of images that they have to take.

    Raises:
        InputError: if there are no such images, or if the files are for several tasks.
    """
    tasks: dict[str, str] = {}
    sizes = {tuple(shape): '--shape'} if shape else {}
    for file in files:
        tasks.setdefault(file.metadata['task'], str(file.path))
        own = file.metadata['input']
        if own['size']:
            sizes.setdefault(tuple(own['size']), str(file.path))
        if own['batch'] and {*batch_sizes} != {own['batch']}:
            raise InputError(
                f'{file.path} takes {own["batch"]} image at a time: set --batch-sizes '
                f'{own["batch"]}, or export it with --dynamic batch'
            )
    texts = {f'{height}x{width}': name for (height, width), name in sizes.items()}
    for found, what in ((tasks, 'for'), (texts, 'of the size')):
        if len(found) > 1:
            (one, first), (other, second), *_ = found.items()
            raise InputError(
                f'{first} is {what} {one} and {second} {what} {other}: measure them one after the '
                'other'
            )
    height, width = next(iter(sizes), (256, 256))
    return height, width


# What a process has open: see _open.
_session: Any
_inputs: dict[str, np.ndarray]


def _open(
    path: str, runtime: str | None, threads: int, asked: str | None
) -> tuple[dict[str, Any], str, str]:
    global _session
    _session = open_session(path, runtime, threads, asked)
    return _session.metadata, _session.runtime, precision_of(_session)


def _set_images(shape: tuple[int, ...]) -> None:
    global _inputs
    random = np.random.default_rng(0)
    _inputs = {'image': random.uniform(0, 255, shape).astype(np.float32)}
    metadata = _session.metadata
    if metadata['output'].get('form') == 'mask' and not metadata['input']['size']:
        _inputs['mask_size'] = np.array(shape[2:], np.int64)


def _call() -> float:
    start = time.perf_counter()
    _session.run(_inputs)
    return time.perf_counter() - start
