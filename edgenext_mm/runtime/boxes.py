"""From the boxes of all anchors to the objects of an image, as mmdet's dense heads choose them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def select(
    boxes: np.ndarray,
    scores: np.ndarray,
    anchors: Sequence[int],
    scale: tuple[float, float],
    settings: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose boxes by score, level by level, and of those that overlap in a class the best.

    Args:
        boxes: (A, 4), x1 y1 x2 y2, float32.
        scores: (A, classes).
        anchors: how many of A each level has.
        scale: by which x and y are divided, to be those of the image.
        settings: score_thr, nms_pre, iou_threshold, max_per_img and, if wanted, min_bbox_size.

    Returns:
        Boxes (K, 4), scores (K,) and labels (K,), best first.
    """
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
            if alive[best] and len(kept) < settings['max_per_img']:
                kept.append(best)
                rest = rivals[label]
                sides = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])
                common = np.maximum(sides, 0).prod(1)
                share = common / (areas[best] + areas[rest] - common)
                alive[rest[share > np.float32(settings['iou_threshold'])]] = False
    return boxes[kept], scores[kept], labels[kept]
