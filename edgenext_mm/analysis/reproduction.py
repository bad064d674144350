"""The tables of the paper (arXiv 2206.10589), beside what was trained here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ..checkpoint.zoo import EXPERIMENTS, Experiment
from ..configs import PREFIX, config_path
from ..errors import InputError
from .complexity import complexity_of
from .logs import read_metric

_HEAD = """# Reproduction

What [the paper](https://arxiv.org/abs/2206.10589) reports, beside what was trained here, and the
command that trains each row. `python tools/reproduce.py 3` prints table 3, and
`python tools/reproduce.py all --out docs/reproduction.md` writes this page.

- Metric here: the best validation in the log of `work_dirs/<name of the config>`, or `not run` if
  there is no such folder. `--work-dirs` names another folder than `work_dirs`.
- Parameters (M) and MAdds (multiply-adds, G) here: what
  `python tools/get_complexity.py CONFIG --shape SIZE SIZE` prints, at the size of the table's
  images. Notes say why some differ from the paper's.
- GPU hours: an estimate for A100s. The authors of MobileViT
  [say](https://github.com/apple/ml-cvnets/blob/d38a116fe134a8cd5db18670764fdaafd39a5d4f/examples/README-mobilevit.md)
  how long they trained MobileViT-S. That is multiplied by the MAdds of the config over those of
  MobileViT-S in the paper. Where the data are read slowly, small networks take longer.
- Command: its last number is that of the GPUs.
"""
_COLUMNS = (
    *('config', 'metric, paper', 'metric, here', 'parameters, paper', 'parameters, here'),
    *('MAdds, paper', 'MAdds, here', 'GPU hours', 'command', 'note'),
)


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        title: what it compares.
        experiments: rows with a config.
        gpus: how many GPUs the authors of MobileViT trained MobileViT-S on (CVNets,
            examples/README-mobilevit.md).
        hours: for how long.
        multiply_adds: of MobileViT-S in G, as in the paper.
        others: rows without a config: metric, parameters in M and MAdds in G, by network.
        remark: what the table leaves out.
    """

    title: str
    experiments: Sequence[Experiment]
    gpus: int
    hours: int
    multiply_adds: float
    others: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    remark: str = (
        'Networks of the paper are left out if there is no config for them here, and no other '
        'source for their figures.'
    )


_CLASSIFIERS = [
    Experiment(f'classification/edgenext_{arch}_imagenet.py', 256, 'ImageNet top-1', figures)
    for arch, figures in {
        'xx_small': (71.2, 1.3, 0.261),
        'x_small': (75.0, 2.3, 0.538),
        'small': (79.4, 5.6, 1.3),
    }.items()
]
#: By their numbers in the paper.
TABLES = {
    1: Table('Classification on ImageNet', _CLASSIFIERS, 8, 48, 2.01),
    2: Table(
        'MobileViT on ImageNet',
        _CLASSIFIERS,
        8,
        48,
        2.01,
        {
            'MobileViT-XXS': (69.0, 1.3, 0.364),
            'MobileViT-XS': (74.8, 2.3, 0.886),
            'MobileViT-S': (78.4, 5.6, 2.01),
        },
        'The latencies of the paper are of a Jetson Nano and of an A100; `tools/benchmark.py` '
        'measures those of the machine that it runs on.',
    ),
    3: Table(
        'Detection on COCO',
        [experiment for experiment in EXPERIMENTS if experiment.metric == 'COCO mAP'],
        4,
        48,
        3.4,
    ),
    4: Table(
        'Segmentation on Pascal VOC',
        [experiment for experiment in EXPERIMENTS if experiment.metric == 'VOC mIoU'],
        4,
        12,
        13.7,
    ),
}


def render_tables(numbers: Sequence[int], work_dirs: Path) -> str:
    """Return tables of the paper, with what was trained here, in Markdown.

    Args:
        numbers: of the tables, keys of ``TABLES``.
        work_dirs: folder of the work directories of runs, each with the name of its config.
    """
    return _HEAD + ''.join(_render(number, TABLES[number], work_dirs) for number in numbers)


def _render(number: int, table: Table, work_dirs: Path) -> str:
    rows = [_COLUMNS, ('---',) * len(_COLUMNS)]
    rows += [_row(table, experiment, work_dirs) for experiment in table.experiments]
    for name, (value, parameters, multiply_adds) in table.others.items():
        figures = (f'{value}', 'no config', f'{parameters}', '', f'{multiply_adds}', '')
        rows.append((name, *figures, '', '', ''))
    lines = ''.join(f'| {" | ".join(cells)} |\n' for cells in rows)
    size, metric = table.experiments[0].size, table.experiments[0].metric
    return (
        f'\n## Table {number}: {table.title}\n\n{metric} at {size}x{size}. MobileViT-S, with '
        f'{table.multiply_adds} G of MAdds, was trained for {table.hours} hours on {table.gpus} '
        'GPUs.\n'
        f'{table.remark}\n\n{lines}'
    )


def _row(table: Table, experiment: Experiment, work_dirs: Path) -> tuple[str, ...]:
    config = Path(config_path(f'{PREFIX}{experiment.config}')).resolve()
    cfg = Config.fromfile(config)
    parameters, multiply_adds = complexity_of(config, (experiment.size,) * 2)
    hours = table.gpus * table.hours * multiply_adds / table.multiply_adds
    gpus = cfg.auto_scale_lr.base_batch_size // cfg.train_dataloader.batch_size
    metric, *sizes = map(str, experiment.paper or ('', '', ''))
    return (
        f'[`{config.name}`](../configs/{experiment.config})',
        *(metric, _result(experiment, cfg, work_dirs / config.stem)),
        *(sizes[0], f'{parameters:.3f}', sizes[1], f'{multiply_adds:.3f}', f'{hours:.0f}'),
        f'`tools/dist_train.sh configs/{experiment.config} {gpus}`',
        experiment.note,
    )


def _result(experiment: Experiment, cfg: Config, work_dir: Path) -> str:
    """Say what the run of a config has reached, or why nothing is known of it."""
    if not work_dir.exists():
        return 'not run' if experiment.ours is None else str(experiment.ours)
    try:
        values, length = read_metric(cfg, work_dir)
    except InputError as error:
        return f'unknown: {error}'
    best, done = max(values.values()), max(values)
    return f'{best:.1f}' + (f' (after {done} of {length})' if done < length else '')
