"""What is in the datasets of a config, what is wrong with them, and whether they fit each other."""

import hashlib
import io
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, METRICS

from ..datasets.checks import CheckedDataset, check_labels
from ..datasets.faults import reading_on
from ..datasets.image_size import SizedBatch
from ..datasets.report import EMPTY_CLASSES, Item
from ..errors import InputError
from ..fileio import AtomicLocalBackend
from ..models.edgenext import MIN_SIZE
from ..parallel import parallel_map
from .fonts import families

SPLITS = ('train', 'val', 'test')
#: COCO's limits of small, medium and large boxes, in pixels of a square's side.
BOX_SIZES = {'small': (0, 32), 'medium': (32, 96), 'large': (96, np.inf)}
#: Classes that a picture names: more would be lines of less than a pixel.
DRAWN_CLASSES = 400


class Problem(NamedTuple):
    """What keeps a dataset from being used.

    Attributes:
        kind: what is wrong, without names and numbers.
        message: what is wrong, where, and the remedy.
        file: the image or the file of annotations, '' if it is neither.

    Example:
        >>> Problem.from_message('masks/1.png has the class ids 7, 9: correct it', 'masks/1.png')
        Problem(kind='has the class ids N', message='masks/1.png has ...', file='masks/1.png')
    """

    kind: str
    message: str
    file: str = ''

    @classmethod
    def from_message(cls, message: str, file: str = '') -> 'Problem':
        """Return a problem whose kind is what messages of one kind have in common."""
        words = message.replace(file, '') if file else message
        words = re.sub(r'\S*/\S*', '', words)  # other paths
        words = re.sub(r"'[^']*'|\b\d[\w.]*(, \d[\w.]*)*", 'N', words)
        return cls(re.split(r'[:;(]| such as ', words)[0].strip(' ,'), message, file)


@dataclass
class Summary:
    """What was found in a dataset.

    Attributes:
        name: the split, such as 'train'.
        classes: names of the classes.
        task: 'boxes', 'pixels' or 'images', what is counted.
        image_sizes: height and width of each image that could be read.
        images: the number of images with each class.
        counts: the number of boxes, pixels or images of each class.
        ignored: the number of boxes of each class that are neither learned nor counted as errors.
        ignored_pixels: the number of pixels that no class is learned from.
        boxes: the class of each box, and its side, the root of its area in pixels.
        digests: what files of the same content have in common, by path of the image.
        notes: what is left out, or used in its one obvious meaning.
        problems: what is wrong, with the file's name.

    Example:
        >>> import numpy as np
        >>> from edgenext_mm.analysis.summary import Summary
        >>> summary = Summary('val', ('cat', 'dog'), 'images', image_sizes=[(32, 48), (32, 64)])
        >>> summary.images = summary.counts = np.array([2, 0])
        >>> print(summary.table())
        val: 2 images, 48 to 64 pixels wide (median 56) and 32 to 32 high (median 32)
        <BLANKLINE>
        | class | images |
        |---|---|
        | cat | 2 |
        | dog | 0 |
    """

    name: str
    classes: Sequence[str] = ()
    task: str = ''
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    ignored: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    ignored_pixels: int = 0
    boxes: list[tuple[int, float]] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)
    notes: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    known: set[tuple[str, str]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.start(self.classes)

    def start(self, classes: Sequence[str]) -> None:
        """Begin to count objects of these classes."""
        self.classes = classes
        self.images, self.counts, self.ignored = np.zeros((3, len(classes)), int)

    def add(self, finding: '_Finding') -> None:
        """Add what was found in an image."""
        self.add_problems(finding.problems)
        if finding.image_size:
            self.image_sizes.append(finding.image_size)
        if finding.digest:
            self.digests[finding.path] = finding.digest
        if finding.task:
            self.task = finding.task
            self.counts += finding.counts
            self.ignored += finding.ignored
            self.ignored_pixels += finding.ignored_pixels
            self.images += finding.counts > 0
            self.boxes += finding.boxes

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Add problems, but a file's of one kind once: a file is read more than once."""
        for problem in problems:
            key = (problem.kind, problem.file or problem.message)
            if key not in self.known:
                self.known.add(key)
                self.problems.append(problem)

    def columns(self) -> dict[str, list]:
        """Return the columns of the table of classes."""
        columns: dict[str, Any] = {'class': list(self.classes), 'images': self.images.tolist()}
        if self.task == 'pixels':
            shares = 100 * self.counts / max(self.counts.sum(), 1)
            columns['pixels (%)'] = [f'{share:.2f}' for share in shares]
        elif self.task == 'boxes':
            columns['boxes'] = self.counts.tolist()
            labels, sides = np.transpose(self.boxes or np.zeros((0, 2)))
            for size, (least, below) in BOX_SIZES.items():
                chosen = labels[(sides >= least) & (sides < below)].astype(int)
                columns[size] = np.bincount(chosen, minlength=len(self.classes)).tolist()
            if self.ignored.any():
                columns['ignored'] = self.ignored.tolist()
        if any(left_out := self._left_out()):
            columns['left out'] = left_out
        return columns

    def _left_out(self) -> list[int]:
        """Return how many objects of each class are left out and not in the column 'ignored'."""
        labels = Counter(
            item.label
            for item in self.notes
            if item.action == 'left out' and item.kind != EMPTY_CLASSES
        )
        ignored = self.ignored.tolist()
        counts = [labels[name] for name in self.classes]
        return [max(count - less, 0) for count, less in zip(counts, ignored, strict=True)]

    def table(self) -> str:
        """Return the sizes of the images, and the classes as a table in Markdown."""
        if not self.image_sizes:
            return f'{self.name}: no image could be read'
        heights, widths = np.transpose(self.image_sizes)
        lines = [
            f'{self.name}: {len(heights)} images, {widths.min()} to {widths.max()} pixels wide '
            f'(median {np.median(widths):.0f}) and {heights.min()} to {heights.max()} high '
            f'(median {np.median(heights):.0f})',
        ]
        if self.ignored_pixels:
            share = 100 * self.ignored_pixels / (self.ignored_pixels + self.counts.sum())
            lines[0] += f'; {share:.2f} % of the pixels are ignored'
        columns = self.columns()
        lines += ['', '| ' + ' | '.join(columns) + ' |', '|---' * len(columns) + '|']
        for row in zip(*columns.values(), strict=True):
            lines.append('| ' + ' | '.join(map(str, row)) + ' |')
        return '\n'.join(lines)

    def noted(self, shown: int = 3) -> list[str]:
        """Return a line for each kind of thing that is left out, or used in its one meaning."""
        kinds: dict[tuple[str, str], list[Item]] = {}
        for item in self.notes:
            kinds.setdefault((item.action, item.kind), []).append(item)
        lines = []
        for (action, kind), items in sorted(kinds.items()):
            names = [
                item.file if item.id is None else f'{item.file} ({item.id})'
                for item in items[:shown]
            ]
            lines.append(
                f'{action}: {sum(item.count for item in items)} {kind}, such as {", ".join(names)}'
            )
        return ['', *lines] if lines else []

    def found_wrong(self, shown: int) -> list[str]:
        """Return the problems as lines: each kind with its number, and the first ones."""
        kinds: dict[str, list[Problem]] = {}
        for problem in self.problems:
            kinds.setdefault(problem.kind, []).append(problem)
        lines = [f'{self.name} data, problems: {len(self.problems)}'] if kinds else []
        for kind, problems in sorted(kinds.items(), key=lambda item: -len(item[1])):
            if len(problems) > 1:
                lines.append(f'  {len(problems)} times: {kind}')
            messages = sorted(problem.message for problem in problems)
            lines += [f'  {message}' for message in messages[:shown]]
            if len(problems) > shown:
                lines.append(f'  and {len(problems) - shown} more, which --json lists')
        return lines

    def as_dict(self) -> dict:
        """Return all that was found, with every name, for :func:`json.dumps`."""
        heights, widths = np.transpose(self.image_sizes or np.zeros((0, 2), int)).tolist()
        columns = self.columns()
        return {
            'name': self.name,
            'task': self.task,
            'images': len(self.image_sizes),
            'heights': dict(sorted(Counter(heights).items())),
            'widths': dict(sorted(Counter(widths).items())),
            'classes': [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ],
            'ignored pixels': self.ignored_pixels,
            'notes': [asdict(item) for item in self.notes],
            'problems': [problem._asdict() for problem in self.problems],
        }


def summarize(cfg: Config, processes: int | None = None) -> list[Summary]:
    """Read every image and annotation of a config's training, validation and test data.

    Whatever is wrong, with the config as well, is a problem of the summary, and the rest is read.

    Args:
        cfg: a config for mmdet, mmseg or mmpretrain.
        processes: defaults to one per CPU.

    Returns:
        One for each dataset. Equal datasets, as validation and test often are, count once, and
        those that are concatenated are told apart.
    """
    summaries: list[Summary] = []
    read: list[tuple[dict, Summary, BaseDataset | None]] = []
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        where = f'{split}_dataloader.dataset'
        if loader is None and split != 'train':
            continue
        try:
            if not isinstance(loader, dict):
                raise InputError(f'{split}_dataloader of the config is {loader!r:.80}: set it')
            leaves = list(_leaves(loader.get('dataset'), where))
        except InputError as error:
            summaries.append(Summary(split, problems=[_problem(error)]))
            continue
        chosen = []
        for i, leaf in enumerate(leaves, 1):
            known = [entry for entry in read if entry[0] == leaf]
            if not known:
                summary = Summary(f'{split} {i}' if len(leaves) > 1 else split)
                summaries.append(summary)
                known = [(leaf, summary, _read(summary, leaf, processes))]
                read += known
            chosen += known
        datasets = [dataset for _, _, dataset in chosen if dataset is not None]
        if len(datasets) == len(leaves) and not any(summary.problems for _, summary, _ in chosen):
            summary = chosen[-1][1]
            if loader['dataset'] not in leaves:  # a wrapper
                with _as_problem(summary, f'the {split} data'):
                    DATASETS.build(_with_children(loader['dataset'], iter(datasets)))
            with _as_problem(summary, f'{split}_evaluator'):
                _prepare_metrics(cfg.get(f'{split}_evaluator'), datasets)
    return summaries


def _prepare_metrics(evaluator: Any, datasets: list[BaseDataset]) -> None:
    """Let the metrics look at the datasets, as they do before a loop starts."""
    if all(isinstance(dataset, CheckedDataset) for dataset in datasets):
        for metric in evaluator if isinstance(evaluator, list | tuple) else [evaluator]:
            if isinstance(metric, dict):
                with redirect_stdout(io.StringIO()):  # pycocotools says what it does
                    datasets[0].prepare_metric(METRICS.build(metric), datasets)


@contextmanager
def _as_problem(summary: Summary, where: str) -> Iterator[None]:
    """Add what is wrong to a summary."""
    try:
        yield
    except Exception as error:
        summary.add_problems([_problem(error, where)])


def _leaves(dataset: Any, where: str) -> Iterator[dict]:
    """Yield the configs of the datasets that wrappers, such as ConcatDataset, hold."""
    if not isinstance(dataset, dict) or not isinstance(dataset.get('type'), str | type):
        raise InputError(f'{where} is {dataset!r:.80}: write dict(type=..., ...) of a dataset')
    if 'datasets' in dataset:
        children = dataset['datasets']
        if not isinstance(children, list | tuple) or not children:
            raise InputError(f'{where}.datasets is {children!r:.80}: write a list of datasets')
        for i, child in enumerate(children):
            yield from _leaves(child, f'{where}.datasets.{i}')
    elif 'dataset' in dataset:
        yield from _leaves(dataset['dataset'], f'{where}.dataset')
    else:
        yield dataset


def _with_children(dataset: dict, built: Iterator[BaseDataset]) -> Any:
    """Return the config of a wrapper with datasets in the place of their configs."""
    if 'datasets' in dataset:
        return dict(dataset, datasets=[_with_children(x, built) for x in dataset['datasets']])
    if 'dataset' in dataset:
        return dict(dataset, dataset=_with_children(dataset['dataset'], built))
    return next(built)


def _problem(error: Exception, where: str = '') -> Problem:
    """Return the problem that an error shows."""
    if isinstance(error, InputError):
        return Problem.from_message(str(error), where if where in str(error) else '')
    # Of the libraries, from a dataset of theirs, or from a case that none of our checks knows.
    words = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
    file = where if os.path.exists(where) else ''
    return Problem(
        f'cannot be read ({type(error).__name__})', f'{where} cannot be read ({words})', file
    )


def _read(summary: Summary, cfg: dict, processes: int | None) -> BaseDataset | None:
    """Read a dataset, and return it if it can be built."""
    dataset = None
    with _as_problem(summary, f'the {summary.name} data of type {cfg["type"]}'):
        steps = cfg.get('pipeline') or []
        loading = [step for step in steps if step['type'].split('.')[-1].startswith('Load')]
        if not loading:
            raise InputError(
                f'the pipeline of the {summary.name} data loads no image: begin it with '
                "dict(type='LoadImageFromFile')"
            )
        with redirect_stdout(io.StringIO()), reading_on() as found:
            dataset = DATASETS.build(dict(cfg, pipeline=loading))
            dataset.full_init()
        pipeline = type(dataset.pipeline)(steps)
        summary.add_problems(map(Problem.from_message, found))
        if isinstance(dataset, CheckedDataset):
            summary.notes += dataset.report.items
        if not len(dataset):
            raise InputError(f'the {summary.name} data have no image: see ann_file and data_prefix')
        summary.start(_classes(dataset))
        for finding in parallel_map(
            _inspect,
            range(len(dataset)),
            processes,
            f'{summary.name} images',
            _use,
            (dataset, len(summary.classes)),
        ):
            summary.add(finding)
        dataset.pipeline = pipeline
        _try_pipeline(summary, dataset)
    return dataset


def _classes(dataset: BaseDataset) -> Sequence[str]:
    classes = dataset.metainfo.get('classes')
    if isinstance(classes, str):
        raise InputError(
            f'metainfo.classes is the text {classes!r}: write a tuple of names, ({classes!r},)'
        )
    if classes is None:  # a list of images that gives numbers
        labels = [dataset.get_data_info(i).get('gt_label', -1) for i in range(len(dataset))]
        classes = [str(i) for i in range(max(labels, default=-1) + 1)]
    return [str(name) for name in classes]


def _try_pipeline(summary: Summary, dataset: BaseDataset) -> None:
    """Run the whole pipeline on the first image, and on those of the most extreme sizes."""
    indices = {0}
    if len(summary.image_sizes) == len(dataset):
        sizes = np.array(summary.image_sizes)
        ratios = sizes[:, 0] / sizes[:, 1]
        extremes = ratios.argmin(), ratios.argmax(), sizes.min(1).argmin(), sizes.prod(1).argmax()
        indices |= {int(index) for index in extremes}
    for index in SizedBatch(sorted(indices), size=256):
        path = str(dataset.get_data_info(index).get('img_path', ''))
        try:
            sample = dataset.prepare_data(index)
            shape = tuple(sample['inputs'].shape[-2:])
        except Exception as error:
            problem = _problem(error, path)
        else:
            if min(shape) >= MIN_SIZE:
                continue
            problem = Problem(
                'is too small for the network',
                f'{path} has {_size(shape)} pixels (height x width) after the pipeline and the '
                f'network needs a side of at least {MIN_SIZE}: resize or pad it there',
                path,
            )
        summary.add_problems([problem])


_dataset: BaseDataset  # what a worker process reads
_num_classes: int


def _use(dataset: BaseDataset, num_classes: int) -> None:
    global _dataset, _num_classes
    _dataset, _num_classes = dataset, num_classes


@dataclass
class _Finding:
    """What an image of a dataset tells: see the attributes of Summary."""

    path: str
    problems: list[Problem] = field(default_factory=list)
    digest: bytes = b''
    image_size: tuple[int, int] | None = None
    task: str = ''
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    ignored: np.ndarray | int = 0
    ignored_pixels: int = 0
    boxes: list[tuple[int, float]] = field(default_factory=list)


def _inspect(index: int) -> _Finding:
    """Read an image of the dataset in use, and its annotation."""
    finding = _Finding('')
    try:
        info = _dataset.get_data_info(index)
        finding.path = str(info['img_path'])
        results = _dataset.prepare_data(index)
        finding.image_size = results['img_shape']
        finding.digest = hashlib.blake2b(Path(finding.path).read_bytes(), digest_size=16).digest()
        if 'gt_seg_map' in results:
            _inspect_mask(finding, info, results)
        elif 'gt_bboxes' in results:
            _inspect_boxes(finding, results)
        elif 'gt_label' in info:
            finding.counts = np.bincount([info['gt_label']], minlength=_num_classes)
            finding.task = 'images'
    except Exception as error:
        finding.problems.append(_problem(error, finding.path or f'the sample {index}'))
    return finding


def _inspect_mask(finding: _Finding, info: dict, results: dict) -> None:
    labels, ignore_index = results['gt_seg_map'], _dataset.ignore_index
    check_labels(info['seg_map_path'], labels, _num_classes, ignore_index)
    used = labels[labels != ignore_index]
    finding.counts = np.bincount(used, minlength=_num_classes)
    finding.ignored_pixels = labels.size - used.size
    finding.task = 'pixels'


def _inspect_boxes(finding: _Finding, results: dict) -> None:
    labels, ignored = results['gt_bboxes_labels'], results['gt_ignore_flags']
    sides = np.sqrt(results['gt_bboxes'].areas.clamp(min=0).numpy())
    finding.ignored = np.bincount(labels[ignored], minlength=_num_classes)
    finding.counts = np.bincount(labels[~ignored], minlength=_num_classes)
    finding.boxes = list(zip(labels[~ignored].tolist(), sides[~ignored].tolist(), strict=True))
    finding.task = 'boxes'


def _size(shape: Sequence[int]) -> str:
    return f'{shape[0]}x{shape[1]}'


def compare(summaries: Sequence[Summary]) -> list[Problem]:
    """Return in what the training data differ from the data for validation and tests.

    That is images which are in both, classes that only one has objects of, other classes, and
    images of other sizes. Training can start all the same.

    Args:
        summaries: those of :func:`summarize`; names that start with 'train' are training data.

    Example:
        >>> train = Summary('train', ('cat', 'dog'), 'images', [(60, 80)], digests={'1.jpg': b'a'})
        >>> val = Summary('val', ('cat', 'dog'), 'images', [(600, 800)], digests={'7.jpg': b'a'})
        >>> train.counts, val.counts = np.array([1, 0]), np.array([1, 0])
        >>> for problem in compare([train, val]):
        ...     print(problem.message)
        train and val have 1 images in common, such as 1.jpg and 7.jpg: what is measured on these
        says little about new images
        half of the images of train are smaller than 69x69 pixels, and of val than 693x693: objects
        may be of other sizes
    """
    splits = {split: _Split(split, summaries) for split in SPLITS}
    train = splits.pop('train')
    return [
        remark
        for other in splits.values()
        if train.sizes and other.sizes
        for remark in _differences(train, other)
    ]


class _Split:
    """What the datasets of a split have together."""

    def __init__(self, name: str, summaries: Sequence[Summary]) -> None:
        chosen = [summary for summary in summaries if summary.name.split()[0] == name]
        self.name = name
        self.digests = {d: path for s in chosen for path, d in s.digests.items()}
        self.sizes = [size for summary in chosen for size in summary.image_sizes]
        self.classes = {name: None for summary in chosen for name in summary.classes}
        self.counts: Counter[str] = Counter()
        for summary in chosen:
            self.counts.update(dict(zip(summary.classes, summary.counts.tolist(), strict=True)))

    def without(self) -> list[str]:
        """Return the classes of which there is nothing."""
        return [name for name in self.classes if not self.counts[name]]


def _differences(train: _Split, other: _Split) -> Iterator[Problem]:
    both = f'{train.name} and {other.name}'
    common = [(train.digests[d], other.digests[d]) for d in other.digests if d in train.digests]
    if common:
        names = ', '.join(' and '.join(dict.fromkeys(pair)) for pair in common)
        yield Problem(
            'images in both',
            f'{both} have {len(common)} images in common, such as {_shorten(names)}: what is '
            'measured on these says little about new images',
            names,
        )
    if list(train.classes) != list(other.classes):
        yield Problem(
            'other classes',
            f'{both} have other classes, {_shorten(", ".join(train.classes))} and '
            f'{_shorten(", ".join(other.classes))}: set metainfo.classes of both to the same',
        )
    else:
        for one, two in ((train, other), (other, train)):
            if only := [name for name in one.without() if name not in two.without()]:
                yield Problem(
                    'classes in one only',
                    f'{one.name} has nothing of {len(only)} classes that {two.name} has, '
                    f'{_shorten(", ".join(only))}',
                )
    areas = [float(np.median(np.prod(split.sizes, 1))) ** 0.5 for split in (train, other)]
    if max(areas) > 2 * min(areas):
        yield Problem(
            'other image sizes',
            f'half of the images of {train.name} are smaller than {areas[0]:.0f}x{areas[0]:.0f} '
            f'pixels, and of {other.name} than {areas[1]:.0f}x{areas[1]:.0f}: objects may be of '
            'other sizes',
        )


def _shorten(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f'{text[:length]}...'


def can_start(summaries: Sequence[Summary]) -> bool:
    """Tell whether training can start, which reads the data for training and validation."""
    return not any(summary.problems for summary in summaries if summary.name.split()[0] != 'test')


def verdict(summaries: Sequence[Summary]) -> str:
    """Say in one line whether training can start.

    Example:
        >>> verdict([Summary('train'), Summary('test', problems=[Problem('is missing', '...')])])
        'Training can start, but not the test: 1 problems of test data.'
    """
    faulty = [summary for summary in summaries if summary.problems]
    names = ', '.join(summary.name for summary in faulty)
    count = f'{sum(len(summary.problems) for summary in faulty)} problems of {names} data.'
    if not can_start(summaries):
        return f'Training cannot start: {count}'
    return f'Training can start, but not the test: {count}' if faulty else 'Training can start.'


def as_json(summaries: Sequence[Summary], remarks: Sequence[Problem]) -> str:
    """Return the summaries and what :func:`compare` found as JSON."""
    content = {
        'can_start': can_start(summaries),
        'verdict': verdict(summaries),
        'datasets': [summary.as_dict() for summary in summaries],
        'comparison': [remark._asdict() for remark in remarks],
    }
    return json.dumps(content, indent=2)


def draw_summaries(summaries: Sequence[Summary], path: str | Path) -> None:
    """Draw class frequencies, box sizes and image sizes.

    Args:
        summaries: a row of the picture each.
        path: picture to write, whole or not at all; its suffix is that of a format of Matplotlib.

    Raises:
        InputError: if the picture cannot be written.
    """
    shown = [summary for summary in summaries if summary.image_sizes]
    height = 1 + 0.12 * min(max(20, *(len(s.classes) for s in shown)), DRAWN_CLASSES)
    figure = Figure(figsize=(14, height * len(shown)), layout='constrained')
    for axes, summary in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        classes, boxes, sizes = axes
        classes.barh(range(len(summary.classes)), summary.counts, color='tab:blue')
        if len(summary.classes) <= DRAWN_CLASSES:
            names = [
                _shorten(name.encode(errors='replace').decode(), 30) for name in summary.classes
            ]
            classes.set_yticks(
                range(len(names)), names, parse_math=False, fontfamily=families(names)
            )
        classes.invert_yaxis()
        classes.margins(y=0.01)
        classes.tick_params(axis='y', labelsize=6)
        classes.set(title=f'{summary.name}: {summary.task} per class', xscale='symlog')
        if summary.boxes:
            boxes.hist([side for _, side in summary.boxes], bins=40, color='tab:orange')
        boxes.set(title='box sizes (root of the area in pixels)' if summary.boxes else 'no boxes')
        heights, widths = np.transpose(summary.image_sizes)
        sizes.scatter(widths, heights, s=8, alpha=0.4, color='tab:green')
        sizes.set(title='image sizes (pixels)', xlabel='width', ylabel='height')
    write(path, render(figure, path))


def render(figure: Figure, path: str | Path = 'figure.png') -> bytes:
    """Return the content of a picture of a figure.

    Args:
        figure: of Matplotlib.
        path: its suffix is that of a format of Matplotlib.

    Raises:
        InputError: if Matplotlib does not have the format.
    """
    content = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of letters that no font has: families has warned
            figure.savefig(content, dpi=100, format=Path(path).suffix[1:] or None)
    except ValueError as error:
        raise InputError(f'{path} cannot be written: {error}') from error
    return content.getvalue()


def write(path: str | Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        InputError: if it cannot be written.

    Example:
        >>> write('/dev/null/picture.png', b'')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: /dev/null/picture.png cannot be written: ...
    """
    try:
        AtomicLocalBackend().put(content, path)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error}') from error
