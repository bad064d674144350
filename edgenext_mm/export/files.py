"""Exported files of all formats, each in its runtime."""

from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runtime.sessions import Session
from .options import FORMATS

# Files that PyTorch runs, for which the device's package has no session.
_OF_PYTORCH = {'.torchscript': 'torchscript', '.pt2': 'torch.export', '.pte': 'executorch'}


def is_exported(path: str | Path) -> bool:
    """Whether a path has the name of an exported file, and not that of a checkpoint.

    Example:
        >>> is_exported('work_dirs/model.onnx'), is_exported('epoch_1.pth')
        (True, False)
    """
    return Path(path).name.lower().endswith(tuple(own.suffix for own in FORMATS.values()))


def open_session(
    path: str | Path,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
) -> Any:
    """Open an exported file of any format that runs on this machine.

    Args:
        path: the file, or the folder of ncnn.
        runtime: see :class:`~edgenext_mm.runtime.Predictor`; files for PyTorch have only one.
        threads: see :class:`~edgenext_mm.runtime.Predictor`.
        precision: see :class:`~edgenext_mm.runtime.Predictor`.

    Returns:
        A session: ``metadata``, ``runtime``, ``precision`` that was asked for, and ``run(inputs)``,
        which returns the outputs.

    Raises:
        InputError: if the file cannot be read, or not by that runtime, or that is not there, or if
            there is to be no thread, or a precision is asked of another runtime than OpenVINO.

    Example:
        >>> open_session('missing.pt2')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.pt2 does not exist: write it by tools/export.py
    """
    if threads is not None and threads < 1:
        raise InputError(f'a runtime has 1 thread or more, not {threads}: set --threads')
    path = Path(path)
    if path.suffix == FORMATS['coreml'].suffix:
        raise InputError(f'{path} runs on macOS and iOS alone: export to another format to test it')
    own = _OF_PYTORCH.get(path.suffix.lower())
    if own is None:
        session: Any = Session(path, runtime, threads, precision)
        if precision and session.runtime != 'openvino':
            raise InputError(
                f'{session.runtime} computes in the precision of the file: leave out the precision '
                f'{precision} for {path}, or choose the runtime openvino'
            )
        return session
    if not path.exists():
        raise InputError(f'{path} does not exist: write it by tools/export.py')
    if runtime not in (None, own):
        raise InputError(f'{path} is no file for {runtime}, but for {own}')
    import torch

    from .sessions import TorchSession

    if threads:
        torch.set_num_threads(threads)
    return TorchSession(path, own)
