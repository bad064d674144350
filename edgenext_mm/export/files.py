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
    suffixes = {own.suffix for own in FORMATS.values()} | _OF_PYTORCH.keys()
    return Path(path).name.lower().endswith(tuple(suffixes))


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
        InputError: if the file cannot be read, or not by that runtime, or that is not there.

    Example:
        >>> open_session('missing.pt2')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.pt2 does not exist: write it by tools/export.py
    """
    path = Path(path)
    own = _OF_PYTORCH.get(path.suffix.lower())
    if own is None:
        return Session(path, runtime, threads, precision)
    if not path.exists():
        raise InputError(f'{path} does not exist: write it by tools/export.py')
    if runtime not in (None, own):
        raise InputError(f'{path} is no file for {runtime}, but for {own}')
    import torch

    from .sessions import TorchSession

    if threads:
        torch.set_num_threads(threads)
    session: Any = TorchSession(path)
    session.runtime, session.precision = own, None
    return session
