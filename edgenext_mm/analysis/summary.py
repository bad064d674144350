"""What is in the datasets of a config, and what is wrong with them."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmengine.utils import track_parallel_progress
from PIL import Image

from ..datasets.checks import check_labels
from ..errors import InputError

#: COCO's limits of small, medium and large boxes, in pixels of a square's side.
BOX_SIZES = {'small': (0, 32), 'medium': (32, 96), 'large': (96, np.inf)}


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
        boxes: the class of each box, and its side, the root of its area in pixels.
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
    task: str = 'boxes'
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    boxes: list[tuple[int, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, finding: '_Finding') -> None:
        """Add what was found in an image."""
        self.problems += finding.problems
        if finding.image_size:
            self.image_sizes.append(finding.image_size)
        if finding.task:
            self.task = finding.task
            self.counts += finding.counts
            self.images += finding.counts > 0
            self.boxes += finding.boxes

    def table(self) -> str:
        """Return the sizes of the images, and the classes as a table in Markdown."""
        if not self.image_sizes:
            return f'{self.name}: no image could be read'
        heights, widths = np.transpose(self.image_sizes)
        lines = [
            f'{self.name}: {len(heights)} images, {widths.min()} to {widths.max()} pixels wide '
            f'(median {np.median(widths):.0f}) and {heights.min()} to {heights.max()} high '
            f'(median {np.median(heights):.0f})',
            '',
        ]
        columns: dict[str, Any] = {'class': self.classes, 'images': self.images}
        if self.task == 'pixels':
            shares = 100 * self.counts / max(self.counts.sum(), 1)
            columns['pixels (%)'] = [f'{share:.2f}' for share in shares]
        elif self.task == 'boxes':
            columns['boxes'] = self.counts
            labels, sides = np.transpose(self.boxes or np.zeros((0, 2)))
            for size, (least, below) in BOX_SIZES.items():
                chosen = labels[(sides >= least) & (sides < below)].astype(int)
                columns[size] = np.bincount(chosen, minlength=len(self.classes))
        lines += ['| ' + ' | '.join(columns) + ' |', '|---' * len(columns) + '|']
        for row in zip(*columns.values(), strict=True):
            lines.append('| ' + ' | '.join(map(str, row)) + ' |')
        return '\n'.join(lines)


def summarize(cfg: Config, processes: int | None = None) -> list[Summary]:
    """Read every image and annotation of a config's training, validation and test data.

    Args:
        cfg: a config for mmdet, mmseg or mmpretrain.
        processes: defaults to one per CPU.

    Returns:
        One for each dataset. Equal datasets, as validation and test often are, count once, and
        those that are concatenated are told apart.
    """
    summaries: list[Summary] = []
    seen: list[dict] = []
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        leaves = [] if loader is None else list(_leaves(loader['dataset']))
        for i, leaf in enumerate(leaves, 1):
            if leaf not in seen:
                seen.append(leaf)
                name = f'{split} {i}' if len(leaves) > 1 else split
                summaries.append(_summarize(name, leaf, processes or os.cpu_count()))
    return summaries


def draw_summaries(summaries: Sequence[Summary], path: str | Path) -> None:
    """Draw class frequencies, box sizes and image sizes.

    Args:
        summaries: a row of the picture each.
        path: picture to write.
    """
    shown = [summary for summary in summaries if summary.image_sizes]
    height = 1 + 0.12 * max(20, *(len(summary.classes) for summary in shown))
    figure = Figure(figsize=(14, height * len(shown)), layout='constrained')
    for axes, summary in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        classes, boxes, sizes = axes
        classes.barh(summary.classes, summary.counts, color='tab:blue')
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
    figure.savefig(path, dpi=100)


def _leaves(dataset: dict) -> Iterator[dict]:
    """Yield the configs of the datasets that wrappers, such as ConcatDataset, hold."""
    if 'datasets' in dataset:
        for child in dataset['datasets']:
            yield from _leaves(child)
    elif 'dataset' in dataset:
        yield from _leaves(dataset['dataset'])
    else:
        yield dataset


def _summarize(name: str, cfg: dict, processes: int | None) -> Summary:
    summary = Summary(name)
    loading = [step for step in cfg['pipeline'] if step['type'].split('.')[-1].startswith('Load')]
    try:
        with redirect_stdout(StringIO()):  # pycocotools says what it does
            dataset = DATASETS.build(dict(cfg, pipeline=loading))
    except (ValueError, AssertionError, OSError) as error:  # InputError is a ValueError
        summary.problems.append(str(error))
        return summary
    summary.classes = dataset.metainfo['classes']
    summary.images, summary.counts = np.zeros((2, len(summary.classes)), int)
    findings = track_parallel_progress(
        _inspect, range(len(dataset)), processes, _use, (dataset,), chunksize=8, file=sys.stderr
    )
    for finding in findings:
        summary.add(finding)
    return summary


_dataset: BaseDataset  # what a worker process reads


def _use(dataset: BaseDataset) -> None:
    global _dataset
    _dataset = dataset


@dataclass
class _Finding:
    """What an image of a dataset tells: see the attributes of Summary."""

    problems: list[str]
    image_size: tuple[int, int] | None = None
    task: str | None = None
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    boxes: list[tuple[int, float]] = field(default_factory=list)


def _inspect(index: int) -> _Finding:
    """Read an image of the dataset in use, and its annotation."""
    info = _dataset.get_data_info(index)
    try:
        results = _dataset.prepare_data(index)
        if 'gt_seg_map' in results:
            return _inspect_mask(info, results)
        if 'gt_bboxes' in results:
            return _inspect_boxes(info, results)
        if 'gt_label' in info:
            counts = np.bincount([info['gt_label']], minlength=len(_dataset.metainfo['classes']))
            return _Finding([], results['img_shape'], 'images', counts)
        return _Finding([], results['img_shape'])
    except InputError as error:
        return _Finding([str(error)])
    except (OSError, SyntaxError) as error:
        return _Finding([f'{info["img_path"]} or its annotation cannot be read: {error}'])


def _inspect_mask(info: dict, results: dict) -> _Finding:
    labels, shape, mask = results['gt_seg_map'], results['img_shape'], info['seg_map_path']
    num_classes, ignore_index = len(_dataset.metainfo['classes']), _dataset.ignore_index
    check_labels(mask, labels, num_classes, ignore_index)
    with Image.open(mask) as image:  # mmseg cuts the ids to eight bits and maps them
        unmapped = _dataset.label_map is None and not _dataset.reduce_zero_label
        check_labels(mask, np.asarray(image), num_classes if unmapped else 256, ignore_index)
    finding = _Finding([], shape, 'pixels')
    finding.counts = np.bincount(labels[labels != ignore_index], minlength=num_classes)
    if labels.shape != shape:
        finding.problems.append(
            f'{mask} has {_size(labels.shape)} pixels and its image {info["img_path"]} has '
            f'{_size(shape)} (height x width): draw the mask at the size of the image'
        )
    return finding


def _inspect_boxes(info: dict, results: dict) -> _Finding:
    corners, labels = results['gt_bboxes'].tensor.numpy(), results['gt_bboxes_labels']
    path, shape = info['img_path'], results['img_shape']
    sides = np.sqrt(results['gt_bboxes'].areas.clamp(min=0).numpy())
    finding = _Finding([], shape, 'boxes')
    finding.counts = np.bincount(labels, minlength=len(_dataset.metainfo['classes']))
    finding.boxes = list(zip(labels.tolist(), sides.tolist(), strict=True))
    annotated = info['height'], info['width']
    if annotated != shape:
        finding.problems.append(
            f'{path} has {_size(shape)} pixels and its annotation says {_size(annotated)} '
            '(height x width): correct the annotation'
        )
    beyond = (corners < -1).any(1) | (corners[:, 2:] > np.add(shape[::-1], 1)).any(1)
    if (corners[:, 2:] <= corners[:, :2]).any():
        finding.problems.append(f'{path} has boxes without an area: correct or remove them')
    if beyond.any():
        finding.problems.append(
            f'{path} has {beyond.sum()} boxes that reach beyond the image, such as the corners '
            f'{corners[beyond][0].tolist()}: is the order of the numbers right?'
        )
    return finding


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[0]}x{shape[1]}'
