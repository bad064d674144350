"""Metrics of tested files, written by tools/test.py and read by tools/benchmark.py."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..runtime.sessions import openvino_core

_TYPES = {'f32': 'float32', 'bf16': 'bfloat16', 'f16': 'float16'}


@dataclass
class Tested:
    """What a test found.

    Attributes:
        file: the checkpoint or exported file.
        sha256: of its content; none of a checkpoint that has a short name.
        runtime: that it ran in, such as 'onnxruntime'; 'PyTorch' for a checkpoint.
        precision: of weights, and of what is computed if that is another; see
            :func:`precision_of`.
        config: whose test set it was.
        metric: name of the metric by which the config chooses the best checkpoint.
        metrics: all metrics by their names; some have a list of numbers, one for each class.
    """

    file: str
    sha256: str
    runtime: str
    precision: str
    config: str
    metric: str
    metrics: dict[str, Any]

    @property
    def value(self) -> float:
        """The metric that counts."""
        return float(self.metrics[self.metric])


def tested(cfg: Any, file: str, metrics: dict[str, Any], session: Any = None) -> Tested:
    """Return what a test found.

    Args:
        cfg: config of the test.
        file: the checkpoint or exported file.
        metrics: as the Runner's test returns them.
        session: in which an exported file ran.

    Raises:
        InputError: if there is no metric that is one number.
    """
    numbers = [name for name, value in metrics.items() if np.ndim(value) == 0]
    if not numbers:
        raise InputError('test_evaluator of the config returns no metric to write')
    hooks = cfg.get('default_hooks') or {}
    best = (hooks.get('checkpoint') or {}).get('save_best')
    return Tested(
        file=str(file),
        sha256=digest(file) if Path(file).exists() else '',
        runtime=session.runtime if session else 'PyTorch',
        precision=precision_of(session) if session else 'float32',
        config=str(cfg.filename),
        metric=best if best in numbers else numbers[0],
        metrics={name: np.asarray(value).tolist() for name, value in metrics.items()},
    )


def in_points(cfg: Any, value: float) -> float:
    """Return a metric in points of 100: mmdet's are shares of 1, the other libraries' are points.

    Args:
        cfg: config of the test.
        value: the metric.

    Example:
        >>> in_points(dict(default_scope='mmdet'), 0.25)
        25.0
        >>> in_points(dict(default_scope='mmseg'), 80.2)
        80.2
    """
    return 100 * value if cfg['default_scope'] == 'mmdet' else value


def write_tested(path: str | Path, found: Tested) -> None:
    """Write what a test found, as JSON.

    Raises:
        InputError: if the file cannot be written.
    """
    from .summary import write

    write(path, json.dumps(asdict(found), indent=2).encode())


def read_tested(paths: Sequence[str | Path]) -> list[Tested]:
    """Read what tests found.

    Args:
        paths: files of :func:`write_tested`.

    Raises:
        InputError: if one is not such a file.

    Example:
        >>> read_tested(['missing.json'])
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.json is not a file of tools/test.py --json ...
    """
    found = []
    for path in paths:
        try:
            found.append(Tested(**json.loads(Path(path).read_text())))
            found[-1].value  # noqa: B018
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise InputError(
                f'{path} is not a file of tools/test.py --json ({type(error).__name__}: {error})'
            ) from error
    return found


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of all files of a folder, as hexadecimal digits."""
    path = Path(path)
    content = hashlib.sha256()
    for part in [path] if path.is_file() else sorted(path.rglob('*')):
        if part.is_file():
            content.update(part.read_bytes())
    return content.hexdigest()


def size_of(path: str | Path) -> int:
    """Return the bytes of a file, with what belongs to it, or of a folder."""
    path = Path(path)
    if path.suffix == '.xml':  # OpenVINO's weights are beside its graph
        return sum(part.stat().st_size for part in (path, path.with_suffix('.bin')))
    files = [path] if path.is_file() else [*path.rglob('*')]
    return sum(part.stat().st_size for part in files if part.is_file())


def precision_of(session: Any) -> str:
    """Return the precision of a file's weights, and that of its runtime if it is another.

    Args:
        session: in which the file is open.

    Returns:
        Such as 'float32', 'int8', or 'float32, bfloat16' for float32 weights with which OpenVINO
        computes in bfloat16.
    """
    stored = session.metadata.get('precision', 'float32')
    if session.runtime != 'openvino':
        return stored
    computed = _TYPES.get(session.precision or _openvinos_choice(), session.precision)
    return stored if computed in (stored, 'float32') else f'{stored}, {computed}'


@cache
def _openvinos_choice() -> str:
    """Return the type in which OpenVINO computes on this processor by default."""
    import openvino
    from openvino import opset13

    x = opset13.parameter([1], np.float32)
    model = openvino.Model([opset13.relu(x)], [x])
    compiled = openvino_core().compile_model(model, 'CPU')
    return compiled.get_property('INFERENCE_PRECISION_HINT').to_string()
