"""Runs of several configs, each of several seeds, side by side: what they reach and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

from mmengine.config import Config

from ..errors import InputError
from ..export.api import drawn_images, export, test_images
from ..export.metadata import preparation
from ..export.options import Options
from .benchmark import Result, benchmark_files
from .complexity import complexity_of
from .logs import read_metric, read_scalars

#: What the runs of a row have in common. Seeds, folders and the like may differ.
_RECIPE = ('model', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks')


@dataclass
class Run:
    """A run of training that is at its end.

    Attributes:
        work_dir: its work directory.
        config: its config, as it was trained.
        learning_rate: of its config; None if the optimizer's default is left.
        value: what its last validation found, in percent.
        seconds: of iterations, as logged.
    """

    work_dir: Path
    config: Path
    learning_rate: float | None
    value: float
    seconds: list[float]


@dataclass
class Row:
    """The runs of a config with one learning rate.

    Attributes:
        name: of the config.
        learning_rate: of the config; None if the optimizer's default is left.
        metric: by which the runs choose their best checkpoint.
        length: of each run, such as '14 epochs'.
        values: what the last validation of each run found, in percent.
        seconds: of an iteration, the median of all runs.
        parameters: their number in M.
        multiply_adds: their number in G, for an image of the size that is tested.
        exported: how long the exported file takes for an image; None if it was not measured.

    Example:
        >>> from edgenext_mm.analysis.benchmark import Result
        >>> from edgenext_mm.analysis.comparison import Row
        >>> times = Result('quick', seconds=[0.004, 0.004]), Result('slow', seconds=[0.007, 0.007])
        >>> quick = Row('quick', 3e-3, 'mIoU', '9 epochs', [41.0, 43.0], 0.2, 1.5, 0.3, times[0])
        >>> slow = Row('slow', 1e-2, 'mIoU', '9 epochs', [39.0, 40.0], 0.3, 2.5, 0.6, times[1])
        >>> slow.is_behind(quick), quick.is_behind(slow)
        (True, False)
    """

    name: str
    learning_rate: float | None
    metric: str
    length: str
    values: list[float]
    seconds: float
    parameters: float
    multiply_adds: float
    exported: Result | None = None

    def is_behind(self, other: 'Row') -> bool:
        """Whether the other config is faster, and its worst run better than the best one here."""
        if self.exported is None or other.exported is None or self.name == other.name:
            return False
        faster = other.exported.median < self.exported.median
        return faster and min(other.values) > max(self.values)


def compare_runs(
    work_dirs: Sequence[str | Path], threads: int = 2, calls: int = 20
) -> tuple[list[Row], list[str]]:
    """Compare runs by what they reach, and by the time of training and of the exported models.

    For the latter, one run of each row is exported to ONNX. The files of those that have one
    metric are called in turn, in shuffled order, for one image at a time.

    Args:
        work_dirs: of tools/train.py, each of one run.
        threads: of ONNX Runtime.
        calls: of each file, 2 or more. 0 measures no latency.

    Returns:
        A row for each config and learning rate, and for each run that is left out a sentence that
        says why.

    Raises:
        InputError: if no run is at its end, if runs of a row differ in other settings, if a
            model cannot be exported, or if the calls are too few.
    """
    if calls < 2 and calls != 0:
        raise InputError(f'--calls {calls}: the spread needs 2 calls or more; 0 measures none')
    runs: dict[tuple[str, float | None], list[Run]] = {}
    left_out = []
    for work_dir in map(Path, work_dirs):
        try:
            run = _read(work_dir)
        except InputError as error:
            left_out.append(str(error))
        else:
            runs.setdefault((run.config.name, run.learning_rate), []).append(run)
    if not runs:
        raise InputError(f'no run is at its end: {"; ".join(left_out)}')
    rows = [_row(of_row) for of_row in runs.values()]
    firsts = [of_row[0] for of_row in runs.values()]
    for metric in dict.fromkeys(row.metric for row in rows) if calls else ():
        measured = [index for index, row in enumerate(rows) if row.metric == metric]
        results = _measure([firsts[index] for index in measured], threads, calls)
        for index, result in zip(measured, results, strict=True):
            rows[index].exported = result
    return rows, left_out


def _read(work_dir: Path) -> Run:
    configs = [*work_dir.glob('*.py')]
    if len(configs) != 1:
        found = 'several configs: leave one run in it' if configs else 'no config: has a run begun?'
        raise InputError(f'{work_dir} has {found}')
    cfg = Config.fromfile(configs[0])
    values, length = read_metric(cfg, work_dir)
    done = max(values)
    if done < length:
        raise InputError(
            f'{work_dir} was last validated at {done} of {length}: go on with tools/train.py '
            '--resume'
        )
    train, _ = read_scalars(work_dir)
    seconds = [row['time'] for row in train.values() if 'time' in row]
    if not seconds:
        raise InputError(f'{work_dir} has no times in its log: lower default_hooks.logger.interval')
    learning_rate = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    return Run(work_dir, configs[0], learning_rate, values[done], seconds)


def _row(runs: Sequence[Run]) -> Row:
    cfg, *others = (Config.fromfile(run.config) for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        if names := [name for name in _RECIPE if other.get(name) != cfg.get(name)]:
            raise InputError(
                f'{run.work_dir} differs from {runs[0].work_dir} in {", ".join(names)}: give runs '
                'that differ in their seeds and learning rates alone, or configs of other names'
            )
    height, width = preparation(cfg, None, False)['input']['size']
    parameters, multiply_adds = complexity_of(runs[0].config.resolve(), (height, width))
    epochs = cfg.train_cfg.get('max_epochs')
    return Row(
        name=runs[0].config.stem,
        learning_rate=runs[0].learning_rate,
        metric=cfg.default_hooks.checkpoint.save_best,
        length=f'{epochs} epochs' if epochs else f'{cfg.train_cfg.max_iters} iterations',
        values=[run.value for run in runs],
        seconds=median(seconds for run in runs for seconds in run.seconds),
        parameters=parameters,
        multiply_adds=multiply_adds,
    )


def _measure(runs: Sequence[Run], threads: int, calls: int) -> list[Result]:
    """Export the models of runs, and measure them."""
    with TemporaryDirectory() as folder:
        files = []
        for i, run in enumerate(runs):
            cfg = Config.fromfile(run.config)
            # Where it is now, wherever the run was.
            checkpoint = run.work_dir / Path((run.work_dir / 'last_checkpoint').read_text()).name
            file = Path(folder, f'{run.config.stem}_{i}.onnx')
            images = test_images(cfg) or drawn_images(f'{folder}/drawn')
            export(cfg, str(checkpoint), Options('onnx'), file, images)
            files.append(file)
        return benchmark_files(files, threads, calls)


def table(rows: Sequence[Row], left_out: Sequence[str] = ()) -> str:
    """Return what was compared in Markdown: a table for each metric, and what was left out.

    Args:
        rows: of :func:`compare_runs`.
        left_out: of :func:`compare_runs`.

    Example:
        >>> from edgenext_mm.analysis.benchmark import Result
        >>> from edgenext_mm.analysis.comparison import Row, table
        >>> times = Result('quick', seconds=[0.004, 0.004]), Result('slow', seconds=[0.007, 0.007])
        >>> quick = Row('quick', 3e-3, 'mIoU', '9 epochs', [41.0, 43.0], 0.2, 1.5, 0.3, times[0])
        >>> slow = Row('slow', 1e-2, 'mIoU', '9 epochs', [39.0], 0.3, 2.5, 0.6, times[1])
        >>> print(table([slow, quick], ['runs/third has no config: has a run begun?']))
        | config | parameters (M) | MAdds (G) | trained for | learning rate | s an iteration | ...
        |---|---|---|---|---|---|---|---|---|---|---|
        | quick | 1.500 | 0.300 | 9 epochs | 0.003 | 0.200 | 2 | 42.0 (41.0 to 43.0) | 4.00 | 0 | |
        | slow | 2.500 | 0.600 | 9 epochs | 0.01 | 0.300 | 1 | 39.0 | 7.00 | 0 | quick |
        <BLANKLINE>
        Left out:
        - runs/third has no config: has a run begun?
    """
    parts = []
    for metric in dict.fromkeys(row.metric for row in rows):
        header = ['config', 'parameters (M)', 'MAdds (G)', 'trained for', 'learning rate']
        header += ['s an iteration', 'runs', metric, 'ms', 'spread (%)', 'behind']
        lines = [f'| {" | ".join(header)} |', '|---' * len(header) + '|']
        own = [row for row in rows if row.metric == metric]
        own.sort(key=lambda row: row.exported.median if row.exported else row.multiply_adds)
        for row in own:
            time = row.exported
            spread = f' ({min(row.values):.1f} to {max(row.values):.1f})'
            cells = [
                row.name,
                f'{row.parameters:.3f}',
                f'{row.multiply_adds:.3f}',
                row.length,
                '' if row.learning_rate is None else f'{row.learning_rate:g}',
                f'{row.seconds:.3f}',
                str(len(row.values)),
                f'{mean(row.values):.1f}' + spread * (len(row.values) > 1),
                *((f'{time.median * 1e3:.2f}', f'{time.spread * 100:.0f}') if time else ('', '')),
                ', '.join(dict.fromkeys(other.name for other in own if row.is_behind(other))),
            ]
            lines.append(f'| {" | ".join(cells)} |')
        parts.append('\n'.join(lines))
    if left_out:
        parts.append('\n'.join(['Left out:', *(f'- {why}' for why in left_out)]))
    return '\n\n'.join(parts)
