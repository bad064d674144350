"""The errors of a detector."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO
from pycocotools.cocoeval import COCOeval

from ..datasets.detection.coco_metric import CocoMetric, to_api
from ..errors import InputError
from .error_report import ErrorReport, Row, number
from .summary import BOX_SIZES
from .tide import FOREGROUND, KINDS, Matched, matches, sort_errors


class ObjectErrors(CocoMetric):
    """CocoMetric, which in the place of its numbers makes a report of the errors.

    Args:
        score_thr: detections below count for AP alone, and neither in the confusion matrix nor for
            the worst images. Defaults to 0.3.
        kwargs: arguments of :class:`~edgenext_mm.datasets.detection.CocoMetric`.

    Attributes:
        report: what was found, after the evaluation.
    """

    def __init__(self, score_thr: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.score_thr = score_thr

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch, with the files of its images."""
        super().process(data_batch, data_samples)
        for sample, (truth, _) in zip(
            data_samples, self.results[-len(data_samples) :], strict=True
        ):
            truth['path'] = sample['img_path']

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Make the report.

        Raises:
            InputError: if there are no annotations in COCO's form.
        """
        api = self._coco_api
        if api is None:
            raise InputError(
                'test_dataloader.dataset of the config has no annotations as COCO has them: take '
                'edgenext_mm.CocoDataset or edgenext_mm.XMLDataset'
            )
        names = list(self.dataset_meta['classes'])
        ids = api.get_cat_ids(cat_names=names)
        boxes = [
            (truth['img_id'], ids[label], box.tolist(), float(score))
            for truth, found in results
            for box, score, label in zip(
                found['bboxes'], found['scores'], found['labels'], strict=True
            )
        ]
        paths = {truth['img_id']: truth['path'] for truth, _ in results}
        self.report = find_object_errors(api, boxes, names, ids, paths, self.score_thr)
        return {}


def find_object_errors(
    api: COCO,
    boxes: Sequence[tuple[int, int, Sequence[float], float]],
    names: Sequence[str],
    category_ids: Sequence[int],
    paths: dict[int, str],
    score_thr: float = 0.3,
) -> ErrorReport:
    """Compare detections with COCO's annotations.

    Args:
        api: the annotations.
        boxes: detections: image id, category id, x1 y1 x2 y2 in pixels, score.
        names: of the classes.
        category_ids: of the classes.
        paths: files of the images by id; of others the annotations do not count.
        score_thr: see :class:`ObjectErrors`.

    Returns:
        AP of each class and size, the errors of each kind with what AP would gain without them, the
        images with most errors, and the confusion matrix, whose last row and column are the
        background. Classes are in the order of their ids.
    """
    order = np.argsort(category_ids)  # that of COCOeval
    names, category_ids = [names[i] for i in order], [category_ids[i] for i in order]
    evaluation = evaluate(api, boxes, category_ids, sorted(paths))
    images = [*matches(evaluation)]
    confusion = np.zeros((len(names) + 1,) * 2, int)
    worst: list[Row] = []
    for image in images:
        own = _confusion(image, len(names), score_thr)
        confusion += own
        wrong = own.sum() - np.trace(own)
        if wrong:
            missed, extra = int(own[:-1, -1].sum()), int(own[-1].sum())
            row = dict(errors=int(wrong), missed=missed, background=extra)
            worst.append(dict(image=paths[image.image_id], **row))
    tables = {
        'Classes': _classes(evaluation, names),
        'Sizes': _sizes(evaluation),
        'Errors at IoU 0.5': _kinds(images),
        'Worst images first': sorted(worst, key=lambda row: -row['errors']),
    }
    return ErrorReport([*names, 'background'], confusion, tables)


def evaluate(
    api: COCO,
    boxes: Sequence[tuple[int, int, Sequence[float], float]],
    category_ids: Sequence[int],
    image_ids: Sequence[int],
) -> COCOeval:
    """Evaluate detections by COCOeval; see :func:`find_object_errors`."""
    found = []
    for key, (image, category, (x1, y1, x2, y2), score) in enumerate(boxes, 1):
        box, area = [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)
        one = dict(id=key, image_id=image, category_id=category, bbox=box, area=area)
        found.append(dict(one, score=score, iscrowd=0))
    content = {key: api.dataset[key] for key in ('images', 'categories')}
    with redirect_stdout(io.StringIO()):  # pycocotools says what it does
        evaluation = COCOeval(api, to_api(dict(content, annotations=found)), 'bbox')
        evaluation.params.catIds, evaluation.params.imgIds = category_ids, image_ids
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _mean(precision: np.ndarray) -> float | None:
    """Return the mean of what COCOeval has a value for; it has -1 where there is no object."""
    known = precision[precision > -1]
    return number(known.mean()) if known.size else None


def _classes(evaluation: COCOeval, names: Sequence[str]) -> list[Row]:
    precision = evaluation.eval['precision'][..., -1]  # IoUs, recalls, classes, sizes
    objects = _objects(evaluation)
    rows = []
    chosen: list[tuple[Any, str]] = [*enumerate(names), (slice(None), 'mean')]
    for label, name in chosen:
        own = precision[:, :, label]
        row: Row = {'class': name, 'objects': int(objects[label, 0].sum())}
        row |= {'AP': _mean(own[..., 0]), 'AP50': _mean(own[0, ..., 0])}
        row |= {f'AP {size}': _mean(own[..., i]) for i, size in enumerate(BOX_SIZES, 1)}
        rows.append(row)
    return rows


def _objects(evaluation: COCOeval) -> np.ndarray:
    """Return the number of objects, (classes, all and each size)."""
    params = evaluation.params
    counts = [0 if cell is None else (cell['gtIgnore'] == 0).sum() for cell in evaluation.evalImgs]
    shape = len(params.catIds), len(params.areaRng), len(params.imgIds)
    return np.reshape(counts, shape).sum(axis=2)


def _sizes(evaluation: COCOeval) -> list[Row]:
    params, objects = evaluation.params, _objects(evaluation)
    found = [
        0 if cell is None else ((cell['gtMatches'][0] > 0) & (cell['gtIgnore'] == 0)).sum()
        for cell in evaluation.evalImgs
    ]
    found = np.reshape(found, (len(params.catIds), len(params.areaRng), -1)).sum(axis=(0, 2))
    precision = evaluation.eval['precision'][..., -1]
    return [
        dict(
            size=size,
            objects=int(objects[:, i].sum()),
            found=int(found[i]),
            AP=_mean(precision[..., i]),
        )
        for i, size in enumerate(BOX_SIZES, 1)
    ]


def _kinds(images: Sequence[Matched]) -> list[Row]:
    errors = sort_errors(images)
    now = errors.average_precision()
    counts = {kind: int((errors.kinds == kind).sum()) for kind in KINDS}
    counts['missed'] = int(errors.missed().sum())
    return [
        dict(kind=kind, count=counts[kind], dAP=number(errors.without(kind) - now))
        for kind in KINDS
    ]


def _confusion(image: Matched, count: int, score_thr: float) -> np.ndarray:
    """Return the confusion matrix of an image, whose last row and column are the background.

    The best detection takes the object that it covers most, whatever the class.
    """
    confusion = np.zeros((count + 1, count + 1), int)
    ious = image.ious.copy()
    free = np.full(len(image.object_labels), True)
    for i in np.argsort(-image.scores, kind='stable'):
        if image.scores[i] < score_thr:
            break
        row = count
        if free.any():
            best = int(np.where(free, ious[i], -1).argmax())
            if ious[i, best] >= FOREGROUND:
                row, free[best] = image.object_labels[best], False
        confusion[row, image.labels[i]] += 1
    np.add.at(confusion, (image.object_labels[free], count), 1)
    return confusion
