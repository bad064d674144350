"""From the boxes of all anchors to the objects of an image, as mmdet's dense heads choose them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError

KEYS = ('score_thr', 'nms_pre', 'iou_threshold', 'max_per_img')  # settings that must be there


def select(
    boxes: np.ndarray, scores: np.ndarray, anchors: Sequence[int], scale: Any, settings: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose by score, level by level, and of boxes that overlap in a class the best.

    There are A boxes (A, 4) and scores (A, classes), ``anchors`` of them in each level. Width and
    height are divided by ``scale``. Returns boxes (K, 4), scores and labels (K,), best first.
    """
    if sum(anchors) != len(boxes):
        raise InputError(
            f'there are {len(boxes)} boxes for {sum(anchors)} anchors: export it again'
        )
    chosen, start = [], 0
    for count in anchors:
        rows, labels = np.nonzero(scores[start : start + count] > settings['score_thr'])
        order = np.argsort(-scores[rows + start, labels], kind='stable')[: settings['nms_pre']]
        chosen.append((rows[order] + start, labels[order]))
        start += count
    rows, labels = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    boxes = boxes[rows] * np.array([1 / factor for factor in scale] * 2, 'f')
    if settings.get('min_bbox_size', -1) >= 0:
        large = (boxes[:, 2:] - boxes[:, :2] > settings['min_bbox_size']).all(1)
        boxes, rows, labels = boxes[large], rows[large], labels[large]
    scores = scores[rows, labels]
    order = np.argsort(-scores, kind='stable')
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    # Classes are moved apart, which rounds the corners as mmcv's batched_nms does.
    apart = boxes + (labels.astype('f') * (boxes.max(initial=0) + np.float32(1)))[:, None]
    low, high = apart[:, :2], apart[:, 2:]
    areas, alive = (high - low).prod(1), np.ones(len(boxes), bool)
    rivals = {label: np.flatnonzero(labels == label) for label in set(labels.tolist())}
    kept: list[int] = []
    with np.errstate(invalid='ignore'):  # 0 / 0: boxes without an area overlap nothing
        for best, label in enumerate(labels.tolist()):
            if alive[best] and len(kept) < (settings['max_per_img'] or len(alive)):
                kept.append(best)
                rest = rivals[label]
                sides = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])
                common = np.maximum(sides, 0).prod(1)
                share = common / (areas[best] + areas[rest] - common)
                alive[rest[share > np.float32(settings['iou_threshold'])]] = False
    return boxes[kept], scores[kept], labels[kept]
