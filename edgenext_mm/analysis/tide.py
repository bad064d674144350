"""False positives of a detector by kind, as TIDE sorts them (arXiv 2008.08115).

COCOeval does the matching, so that what is sorted is what the metric counts.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU of a hit, and below which there is nothing
KINDS = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')


class Matched(NamedTuple):
    """The detections and objects of an image, as COCOeval matched them at an IoU of 0.5.

    What COCO ignores, such as crowds and what is found in them, is not among them.
    """

    image_id: int
    labels: np.ndarray  # (D,), index of the class
    scores: np.ndarray  # (D,)
    hits: np.ndarray  # (D,), whether it found an object of its class
    object_labels: np.ndarray  # (G,)
    found: np.ndarray  # (G,), whether a detection of its class found it
    ious: np.ndarray  # (D, G)


def matches(evaluation: COCOeval) -> Iterator[Matched]:
    """Yield the matches of each image of an evaluation whose first IoU threshold is 0.5."""
    images = evaluation.params.imgIds
    areas = len(evaluation.params.areaRng)
    for i, image in enumerate(images):
        detections, objects = [], []
        for label in range(len(evaluation.params.catIds)):
            cell = evaluation.evalImgs[label * areas * len(images) + i]
            if cell is None:
                continue
            chosen = np.flatnonzero(~cell['dtIgnore'][0])
            detections += [
                (label, cell['dtScores'][j], cell['dtMatches'][0, j] > 0, cell['dtIds'][j])
                for j in chosen
            ]
            chosen = np.flatnonzero(cell['gtIgnore'] == 0)
            objects += [(label, cell['gtMatches'][0, j] > 0, cell['gtIds'][j]) for j in chosen]
        labels, scores, hits, ids = _columns(detections, 4)
        object_labels, found, object_ids = _columns(objects, 3)
        ious = np.zeros((len(ids), len(object_ids)))
        if ious.size:
            boxes = [evaluation.cocoDt.anns[key]['bbox'] for key in ids]
            others = [evaluation.cocoGt.anns[key]['bbox'] for key in object_ids]
            ious = mask.iou(boxes, others, [0] * len(others))
        yield Matched(
            image,
            labels.astype(int),
            scores.astype(float),
            hits.astype(bool),
            object_labels.astype(int),
            found.astype(bool),
            ious,
        )


def _columns(rows: list[tuple], count: int) -> Sequence[np.ndarray]:
    return [np.array(column) for column in zip(*rows, strict=True)] or [np.zeros(0)] * count


class Errors(NamedTuple):
    """All detections of a dataset by kind, and its objects."""

    labels: np.ndarray  # (D,), index of the class
    scores: np.ndarray  # (D,)
    kinds: np.ndarray  # (D,), one of KINDS, '' for a hit
    targets: np.ndarray  # (D,), the object that was meant, if class or place are wrong; else -1
    object_labels: np.ndarray  # (G,)
    found: np.ndarray  # (G,)

    def average_precision(self) -> float:
        """Return the mean over the classes of AP at an IoU of 0.5, as COCO's metric has it."""
        return self._mean(self.kinds == '', self.labels, np.full(len(self.labels), True))

    def missed(self) -> np.ndarray:
        """Return which objects nothing found, not even with a wrong class or in a wrong place."""
        return ~self.found & ~np.isin(np.arange(len(self.found)), self.targets)

    def without(self, kind: str) -> float:
        """Return the mean AP if all errors of a kind were put right.

        A wrong class or place is put right, the best detection of an object alone; other false
        positives go, and objects that were missed do not count. Of a class with no others the AP is
        then 0 if it has detections; if it has none, the class is left out of the mean.
        """
        hits, labels, kept = self.kinds == '', self.labels.copy(), self.kinds != kind
        if kind == 'missed':
            return self._mean(hits, labels, kept, ~self.missed())
        taken = self.found.copy()
        for i in np.argsort(-self.scores, kind='stable'):
            target = self.targets[i]
            if not kept[i] and target >= 0 and not taken[target]:
                taken[target] = kept[i] = hits[i] = True
                labels[i] = self.object_labels[target]
        return self._mean(hits, labels, kept)

    def _mean(
        self,
        hits: np.ndarray,
        labels: np.ndarray,
        kept: np.ndarray,
        counted: np.ndarray | None = None,
    ) -> float:
        objects = self.object_labels if counted is None else self.object_labels[counted]
        values = []
        for label in np.unique(self.object_labels):
            chosen, count = kept & (labels == label), int((objects == label).sum())
            if count or chosen.any():
                values.append(average_precision(self.scores[chosen], hits[chosen], count))
        return float(np.mean(values)) if values else float('nan')


def sort_errors(images: Sequence[Matched]) -> Errors:
    """Sort the detections of images: the first kind that fits counts.

    ================  =============================================================
    localisation      IoU from 0.1 to 0.5 with the nearest object of its class
    classification    IoU from 0.5 with an object of another class
    duplicate         IoU from 0.5 with an object that a better detection has found
    background        IoU below 0.1 with all objects
    both              wrong class and wrong place: what is left
    ================  =============================================================
    """
    kinds, targets, start = [], [], 0
    for one in images:
        same = one.labels[:, None] == one.object_labels
        # An object that is not there, so that there is always a nearest one.
        own = np.pad(np.where(same, one.ious, 0), ((0, 0), (0, 1)))
        other = np.pad(np.where(same, 0, one.ious), ((0, 0), (0, 1)))
        near, far = own.max(axis=1), other.max(axis=1)
        kind = np.select(
            [
                one.hits,
                (near >= BACKGROUND) & (near < FOREGROUND),
                far >= FOREGROUND,
                near >= FOREGROUND,
                np.maximum(near, far) < BACKGROUND,
            ],
            ['', 'localisation', 'classification', 'duplicate', 'background'],
            'both',
        )
        target = np.where(kind == 'localisation', own.argmax(axis=1), other.argmax(axis=1))
        fixable = np.isin(kind, ['localisation', 'classification'])
        kinds.append(kind)
        targets.append(np.where(fixable, start + target, -1))
        start += len(one.object_labels)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in images])

    return Errors(
        joined('labels'),
        joined('scores'),
        np.concatenate(kinds),
        np.concatenate(targets),
        joined('object_labels'),
        joined('found'),
    )


def average_precision(scores: np.ndarray, hits: np.ndarray, count: int) -> float:
    """Return COCO's average precision, the mean of the precision at 101 recalls.

    Args:
        scores: of detections of a class, (D,).
        hits: whether each of them found an object, (D,).
        count: the number of objects.

    Example:
        >>> import numpy as np
        >>> average_precision(np.array([0.9, 0.8]), np.array([False, True]), count=1)
        0.5
    """
    hits = hits[np.argsort(-scores, kind='stable')]
    true = np.cumsum(hits)
    precision = np.append(true / np.arange(1, len(hits) + 1), 0)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(true / max(count, 1), np.linspace(0, 1, 101))
    return float(precision[places].mean())
