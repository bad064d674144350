"""Logs of runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..errors import InputError

Scalars = dict[int, dict[str, Any]]


def read_scalars(work_dir: str | Path) -> tuple[Scalars, Scalars]:
    """Read what the runs of a work directory logged.

    Args:
        work_dir: work directory of tools/train.py.

    Returns:
        By iteration what training logged, and by epoch what validation did (by iteration if the
        training loop counts these). Where a run was resumed or started again, the later one counts.

    Raises:
        InputError: if no run has logged there.

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
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for scalars, key, new in (
            (train, 'iter', [row for row in rows if 'iter' in row]),
            (val, 'step', [row for row in rows if 'iter' not in row]),
        ):
            for stale in [step for step in scalars if new and step >= new[0][key]]:
                del scalars[stale]
            scalars.update({row[key]: row for row in new})
    return train, val


def draw_curves(work_dir: str | Path, path: str | Path, metrics: Sequence[str]) -> None:
    """Draw the curves of the training loss and of validation metrics.

    Args:
        work_dir: work directory of tools/train.py.
        path: picture to write.
        metrics: names of the metrics, as they are logged.

    Raises:
        InputError: if no run has logged there, or if none has validated with a metric.
    """
    train, val = read_scalars(work_dir)
    figure = Figure(figsize=(10, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    left.plot([*train], [row['loss'] for row in train.values()])
    left.set(xlabel='iteration', ylabel='training loss', yscale='log')
    for metric in metrics:
        values = {step: row[metric] for step, row in val.items() if metric in row}
        if not values:
            raise InputError(f'{work_dir} has no validation that logged {metric}')
        right.plot([*values], [*values.values()], marker='o', label=metric)
    by_epoch = any('epoch' in row for row in train.values())
    right.set(xlabel='epoch' if by_epoch else 'iteration', ylim=(0, None))
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
