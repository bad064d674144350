"""Exported files in their runtimes, those of PyTorch among them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401  for the operation nms in files

from ..errors import InputError
from .options import FORMATS, METADATA_FILE


class TorchSession:
    """A file of TorchScript, torch.export or ExecuTorch.

    It has what :class:`edgenext_mm.runtime.sessions.Session` has, for
    :class:`edgenext_mm.runtime.Predictor`; see :func:`~.files.open_session`.

    Args:
        path: the file.
        runtime: how tables call what runs it.

    Attributes:
        metadata: what the file says about itself.
        runtime: as above.
        precision: that was asked for, which is none.
    """

    precision = None

    def __init__(self, path: Path, runtime: str) -> None:
        self.path, self.runtime = path, runtime
        try:
            self._run, description = _LOADERS[path.suffix](str(path))
        except ImportError as error:
            raise InputError(
                f"{path} needs {error.name}: pip install 'edgenext_mm[executorch]'"
            ) from error
        except Exception as error:  # of the runtime's own types
            raise self._fault('cannot be loaded', error) from error
        try:
            self.metadata: dict[str, Any] = json.loads(description)
            self.names = list(self.metadata['output']['names'])
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f'{path} has no metadata of edgenext_mm: it is broken, or not from tools/export.py'
            ) from error

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in the order of the metadata's ``output.names``."""
        try:
            with torch.no_grad():
                outputs = self._run(*map(torch.from_numpy, inputs.values()))
        except Exception as error:  # as above
            shapes = ', '.join(f'{name} {values.shape}' for name, values in inputs.items())
            raise self._fault(f'cannot be run on {shapes}', error) from error
        return [output.numpy() for output in outputs]

    def _fault(self, what: str, error: Exception) -> InputError:
        told = f'{type(error).__name__}: {" ".join(str(error).split())}'[:300]
        return InputError(f'{self.path} {what} ({told}): export it again')


Loaded = tuple[Callable[..., Any], str]


def _torchscript(path: str) -> Loaded:
    extra = {METADATA_FILE: ''}
    return torch.jit.load(path, _extra_files=extra), extra[METADATA_FILE]


def _exported_program(path: str) -> Loaded:
    extra = {METADATA_FILE: ''}
    return torch.export.load(path, extra_files=extra).module(), extra[METADATA_FILE]


def _executorch(path: str) -> Loaded:
    from executorch.runtime import Runtime

    description = Path(f'{path}.json')
    method = Runtime.get().load_program(path).load_method('forward')
    text = description.read_text() if description.exists() else ''
    return lambda *inputs: method.execute(inputs), text


_LOADERS = {
    FORMATS['torchscript'].suffix: _torchscript,
    FORMATS['exported_program'].suffix: _exported_program,
    FORMATS['executorch'].suffix: _executorch,
}
