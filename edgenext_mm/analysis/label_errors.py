"""The errors of a segmentor and of a classifier."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric

from ..errors import InputError
from .error_report import ErrorReport, Row, number
from .summary import BOX_SIZES


class PixelErrors(BaseMetric):
    """Makes a report of the errors of a segmentor, in the place of a metric.

    Args:
        ignore_index: annotated pixels that do not count. Defaults to 255.
        kwargs: arguments of mmengine's BaseMetric.

    Attributes:
        report: what was found, after the evaluation.
    """

    def __init__(self, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch."""
        count = len(self.dataset_meta['classes'])
        for sample in data_samples:
            mask, labels = (
                sample[key]['data'].squeeze(0).cpu().numpy().astype(int)
                for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            kept = labels != self.ignore_index
            pairs = np.bincount(count * labels[kept] + mask[kept], minlength=count**2)
            confusion, regions = pairs.reshape(count, count), _regions(mask, labels, count)
            self.results.append((sample['img_path'], confusion, regions))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Make the report."""
        self.report = pixel_report(results, self.dataset_meta['classes'])
        return {}


def _regions(mask: np.ndarray, labels: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Return the area and the share that was found of each connected region of a class."""
    regions: list[tuple[int, float]] = []
    for label in range(count):
        number_of, ids = cv2.connectedComponents((labels == label).astype(np.uint8))
        areas = np.bincount(ids.ravel(), minlength=number_of)[1:]
        found = np.bincount(ids[mask == label], minlength=number_of)[1:]
        regions += zip(areas.tolist(), (found / areas).tolist(), strict=True)
    return regions


def pixel_report(
    results: Sequence[tuple[str, np.ndarray, list[tuple[int, float]]]], names: Sequence[str]
) -> ErrorReport:
    """Return the report of a segmentor.

    Args:
        results: of each image the file, the confusion matrix of its pixels, and area and found
            share of its regions.
        names: of the classes.

    Returns:
        IoU and recall of each class, the share of regions of each size that is found on average,
        and the images with the lowest mean IoU.
    """
    confusion = np.sum([own for _, own, _ in results], axis=0)
    iou = _iou(confusion)
    recall = np.diag(confusion) / np.where(confusion.any(axis=1), confusion.sum(axis=1), np.nan)
    rows: list[Row] = [
        {
            'class': name,
            'pixels': int(confusion[i].sum()),
            'IoU': number(iou[i]),
            'recall': number(recall[i]),
        }
        for i, name in enumerate(names)
    ]
    mean = dict(pixels=int(confusion.sum()), IoU=_mean(iou), recall=_mean(recall))
    areas, found = np.transpose([region for *_, own in results for region in own] or [(0, 0)])
    sizes: list[Row] = []
    for size, (least, below) in BOX_SIZES.items():
        chosen = (areas >= max(least**2, 1)) & (areas < below**2)
        sizes.append(dict(size=size, regions=int(chosen.sum()), found=_mean(found[chosen])))
    images: list[Row] = [
        dict(image=path, mIoU=_mean(_iou(own))) for path, own, _ in results if own.any()
    ]
    tables = {
        'Classes': [*rows, {'class': 'mean', **mean}],
        'Regions by size': sizes,
        'Worst images first': sorted(images, key=lambda row: row['mIoU']),
    }
    return ErrorReport(names, confusion, tables)


def _iou(confusion: np.ndarray) -> np.ndarray:
    """Return the IoU of each class; nan of those that are neither annotated nor predicted."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return hits / np.where(union, union, np.nan)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return number(known.mean()) if known.size else None


class ImageErrors(BaseMetric):
    """Makes a report of the errors of a classifier, in the place of a metric.

    Attributes:
        report: what was found, after the evaluation.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch.

        Raises:
            InputError: if images have more than one class.
        """
        for sample in data_samples:
            labels, scores = sample['gt_label'].tolist(), sample['pred_score'].cpu().numpy()
            if len(labels) != 1:
                raise InputError(
                    f'{sample["img_path"]} has {len(labels)} classes: the analysis is for '
                    'classifiers of one class per image'
                )
            self.results.append((sample['img_path'], labels[0], scores))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Make the report."""
        count = len(results[0][2])
        names = self.dataset_meta.get('classes') or [str(label) for label in range(count)]
        self.report = image_report(results, names)
        return {}


def image_report(
    results: Sequence[tuple[str, int, np.ndarray]], names: Sequence[str]
) -> ErrorReport:
    """Return the report of a classifier.

    Args:
        results: of each image the file, the class, and the scores of all classes.
        names: of the classes.

    Returns:
        Recall and precision of each class, and the images that are wrong, those first whose own
        class has the lowest score.
    """
    confusion = np.zeros((len(names),) * 2, int)
    wrong: list[Row] = []
    for path, label, scores in results:
        best = int(scores.argmax())
        confusion[label, best] += 1
        if best != label:
            row = dict(image=path, annotated=names[label], predicted=names[best])
            wrong.append(dict(row, score=number(scores[best]), own=number(scores[label])))
    hits = np.diag(confusion)
    rows: list[Row] = [
        {
            'class': name,
            'images': int(confusion[i].sum()),
            'recall': number(hits[i] / confusion[i].sum()) if confusion[i].any() else None,
            'precision': number(hits[i] / confusion[:, i].sum()) if confusion[:, i].any() else None,
        }
        for i, name in enumerate(names)
    ]
    tables = {
        'Classes': rows,
        'Worst images first': sorted(wrong, key=lambda row: row['own']),
    }
    return ErrorReport(names, confusion, tables)
