"""Exported files of all formats, each in its runtime."""

from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runtime.sessions import Session

# Formats whose runtime is PyTorch, by suffix, which the device's package leaves out. Each module of
# these has a class ``Session`` of its own.
_OF_PYTORCH = {
    '.torchscript': 'torchscript',
    '.pt2': 'exported_program',
    '.pte': 'executorch',
}


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
        A session: ``metadata``, ``runtime`` and ``run(inputs)``, which returns the outputs.

    Raises:
        InputError: if the file cannot be read, or not by that runtime, or that is not there.

    Example:
        >>> open_session('missing.pt2')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.pt2 does not exist: write it by tools/export.py
    """
    path = Path(path)
    name = _OF_PYTORCH.get(path.suffix.lower())
    if name is None:
        return Session(path, runtime, threads, precision)
    if not path.exists():
        raise InputError(f'{path} does not exist: write it by tools/export.py')
    if runtime not in (None, name):
        raise InputError(f'{path} is no file for {runtime}, but for {name}')
    return import_module(f'{__package__}.formats.{name}').Session(path, threads)
