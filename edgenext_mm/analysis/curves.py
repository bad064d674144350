"""Curves of training runs: losses, learning rates and validation metrics."""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..errors import InputError
from .fonts import families
from .logs import Scalars, read_scalars
from .summary import render, write

COLUMNS = 4
#: What a row of the log says of its place and time, and not of the model.
_OF_THE_ROW = ('iter', 'epoch', 'step', 'time', 'data_time', 'memory')
_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Runs</title>
<style>body {{font-family: sans-serif}} td, th {{padding: 0 1em; text-align: right}}</style>
<img alt="Curves" style="max-width: 100%" src="data:image/png;base64,{picture}">
<table>{rows}</table></html>
"""


def draw_runs(
    work_dirs: Sequence[str | Path], path: str | Path, metrics: Sequence[str] = ()
) -> None:
    """Draw the losses, learning rates and validation metrics of runs, a panel each.

    Args:
        work_dirs: work directories of tools/train.py.
        path: file to write: a picture, or with the suffix .html a page that holds the picture and a
            table of the last values, and needs no other file.
        metrics: names of the metrics, as they are logged. Defaults to all.

    Raises:
        InputError: if a folder has no log, if no run has validated with a metric, or if the file
            cannot be written.
    """
    names = _names(work_dirs)
    runs = dict(zip(names, map(read_scalars, work_dirs), strict=True))
    panels = _panels([*runs.values()], metrics)
    rows = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(4 * min(len(panels), COLUMNS), 3 * rows + 0.5), layout='constrained')
    places = figure.subplots(rows, min(len(panels), COLUMNS), squeeze=False).flat
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, panel in zip(places, panels, strict=False):
        for i, run in enumerate(runs.values()):
            _draw(axes, panel, run, f'C{i}')
    if len(runs) > 1:
        figure.legend(
            figure.axes[0].lines, names, loc='outside upper left', prop=dict(family=families(names))
        )
    if Path(path).suffix.lower() == '.html':
        write(path, _page(runs, panels, render(figure)).encode())
    else:
        write(path, render(figure, path))


def _names(work_dirs: Sequence[str | Path]) -> list[str]:
    """Return the names of folders, or their paths where two have the same name."""
    names = [Path(folder).resolve().name for folder in work_dirs]
    return names if len({*names}) == len(names) else [str(folder) for folder in work_dirs]


def _panels(runs: Sequence[tuple[Scalars, Scalars]], metrics: Sequence[str]) -> list[str]:
    """Return what there is a panel for, in the order of the logs."""
    trained = dict.fromkeys(key for train, _ in runs for row in train.values() for key in row)
    validated = dict.fromkeys(
        key
        for _, val in runs
        for row in val.values()
        for key, value in row.items()
        if key not in _OF_THE_ROW and isinstance(value, int | float)
    )
    for metric in metrics:
        if metric not in validated:
            known = ', '.join(validated) or 'nothing'
            raise InputError(f'no run has validated with {metric}: {known} is in the logs')
    losses = [key for key in trained if 'loss' in key]
    return [*losses, *(key for key in trained if key == 'lr'), *(metrics or validated)]


def _draw(axes: Any, panel: str, run: tuple[Scalars, Scalars], color: str) -> None:
    """Draw the curve of a run, of which there may be nothing in the log."""
    train, val = run
    of_training = any(panel in row for row in train.values())
    values = _curve(train if of_training else val, panel)
    marker = '' if of_training and len(values) > 1 else 'o'
    axes.plot([*values], [*values.values()], color=color, marker=marker)
    by_epoch = not of_training and any('epoch' in row for row in train.values())
    axes.set(title=panel, xlabel='epoch' if by_epoch else 'iteration')
    if 'loss' in panel and values and min(values.values()) > 0:
        axes.set_yscale('log')
    axes.grid(alpha=0.3)


def _curve(scalars: Scalars, name: str) -> dict[int, float]:
    return {step: row[name] for step, row in scalars.items() if name in row}


def _page(runs: dict[str, tuple[Scalars, Scalars]], panels: Sequence[str], picture: bytes) -> str:
    cells = [['run', *panels]]
    for name, (train, val) in runs.items():
        last = [[*(_curve(train, panel) or _curve(val, panel)).values()][-1:] for panel in panels]
        cells.append([name, *(f'{value[0]:.4g}' if value else '' for value in last)])
    rows = ''.join(
        f'<tr>{"".join(f"<td>{html.escape(cell)}</td>" for cell in row)}</tr>' for row in cells
    )
    return _PAGE.format(picture=base64.b64encode(picture).decode(), rows=rows)
