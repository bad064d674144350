"""Logs of runs."""

import json
import warnings
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import InputError
from .metrics import in_points

Scalars = dict[int, dict[str, Any]]


def read_scalars(work_dir: str | Path) -> tuple[Scalars, Scalars]:
    """Read what the runs of a work directory logged.

    Args:
        work_dir: work directory of tools/train.py.

    Returns:
        By iteration what training logged, and by epoch what validation did (by iteration if the
        training loop counts these). Where a run was resumed or started again, the later one counts.

    Raises:
        InputError: if no run has logged there, or if a log is damaged; a last line that a kill has
            cut is left out with a warning.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from edgenext_mm.analysis.logs import read_scalars
        >>> with tempfile.TemporaryDirectory() as work_dir:
        ...     folder = Path(work_dir, '20260101_000000', 'vis_data')
        ...     folder.mkdir(parents=True)
        ...     lines = '{"iter": 50, "loss": 2.5}\\n{"step": 1, "mIoU": 60.0}\\n'
        ...     _ = (folder / 'scalars.json').write_text(lines)
        ...     train, val = read_scalars(work_dir)
        >>> train[50]['loss'], val[1]['mIoU']
        (2.5, 60.0)
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise InputError(f'{work_dir} has no */vis_data/scalars.json: has a run logged there?')
    train: Scalars = {}
    val: Scalars = {}
    for file in files:
        rows = _rows(file)
        for scalars, key, new in (
            (train, 'iter', [row for row in rows if 'iter' in row]),
            (val, 'step', [row for row in rows if 'iter' not in row]),
        ):
            for stale in [step for step in scalars if new and step >= new[0][key]]:
                del scalars[stale]
            scalars.update({row[key]: row for row in new})
    return train, val


def read_metric(cfg: Config, work_dir: str | Path) -> tuple[dict[int, float], int]:
    """Read the metric by which a run chooses its best checkpoint.

    Args:
        cfg: config of the run.
        work_dir: its work directory.

    Returns:
        The metric in points of 100 by epoch, or by iteration if the training loop counts these; and
        at which of them the run ends.

    Raises:
        InputError: see :func:`read_scalars`, and if the metric is not in the log.
    """
    name = cfg.default_hooks.checkpoint.save_best
    _, validations = read_scalars(work_dir)
    values = {step: in_points(cfg, row[name]) for step, row in validations.items() if name in row}
    if not values:
        raise InputError(f'the log of {work_dir} has no {name}')
    return values, cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters


def _rows(file: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(file.read_text(errors='replace').splitlines(keepends=True), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not row.keys() & {'iter', 'step'}:
            if not line.endswith('\n'):
                warnings.warn(f'line {number} of {file} is cut and left out', stacklevel=2)
                break
            raise InputError(f'line {number} of {file} is damaged: remove it')
        rows.append(row)
    return rows
