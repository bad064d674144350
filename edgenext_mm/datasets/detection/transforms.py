"""SSD's augmentations (arXiv 1512.02325, section 2.2), mmdet's with changes."""

import numpy as np
from mmdet.datasets import transforms
from mmdet.structures.bbox import autocast_box_type

from ...registry import TRANSFORMS

#: Windows in a round, as in mmdet.
TRIALS = 50


@TRANSFORMS.register_module()
class MinIoURandomCrop(transforms.MinIoURandomCrop):
    """mmdet's MinIoURandomCrop, which draws the windows of a round in one call of NumPy.

    The windows have the distribution of mmdet's: in a round 50 windows are drawn for a random bound
    on the IoU with each box, and the first window that fits is the crop. If none fits, the next
    round draws another bound. Unlike mmdet's, a window can start at the first row or column.

    Example:
        >>> import torch
        >>> from mmdet.structures.bbox import HorizontalBoxes
        >>> results = dict(
        ...     img=np.zeros((90, 120, 3), np.uint8),
        ...     gt_bboxes=HorizontalBoxes(torch.tensor([[20.0, 10.0, 110.0, 80.0]])),
        ...     gt_bboxes_labels=np.array([3]),
        ...     gt_ignore_flags=np.array([False]),
        ... )
        >>> results = MinIoURandomCrop(min_ious=[0.5]).transform(results)
        >>> results['gt_bboxes_labels'].tolist()
        [3]
    """

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Crop the image and what belongs to it; see mmdet's transform for the keys."""
        boxes = results['gt_bboxes']
        corners, centers = boxes.tensor.numpy(), boxes.centers.numpy()
        while True:
            min_iou = self._random_mode()
            if min_iou == 1:
                return results
            windows = self._random_windows(*results['img'].shape[:2])
            if len(boxes):
                inside = _centers_inside(windows, centers)
                fits = inside.any(1) & (_ious(windows, corners).min(1) >= min_iou)
                windows, inside = windows[fits], inside[fits]
            if len(windows):
                return self._crop(results, windows[0], inside[0] if len(boxes) else None)

    def _random_windows(self, height: int, width: int) -> np.ndarray:
        """Return windows (left, top, right, bottom) of aspect ratios of 1/2 to 2, (n, 4) int."""
        size = np.array([width, height])
        sides = np.random.uniform(self.min_crop_size * size, size, (TRIALS, 2))
        sides = sides[(sides.max(1) <= 2 * sides.min(1)) & (sides.min(1) >= 1)]
        first = np.random.uniform(0, size - sides)
        return np.hstack([first, first + sides]).astype(int)

    def _crop(self, results: dict, window: np.ndarray, inside: np.ndarray | None) -> dict:
        left, top, right, bottom = window.tolist()
        results['img'] = results['img'][top:bottom, left:right]
        results['img_shape'] = results['img'].shape[:2]
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = results['gt_seg_map'][top:bottom, left:right]
        if inside is None:
            return results
        boxes = results['gt_bboxes'][inside]
        boxes.translate_([-left, -top])
        if self.bbox_clip_border:
            boxes.clip_(results['img_shape'])
        results['gt_bboxes'] = boxes
        for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
            if results.get(key) is not None:
                results[key] = results[key][inside]
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'][inside.nonzero()[0]].crop(window)
        return results


def _centers_inside(windows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return whether each window has each center inside, shape (windows, boxes)."""
    first, last = windows[:, None, :2], windows[:, None, 2:]
    return np.all((first < centers) & (centers < last), 2)


def _ious(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the IoU of each window with each box, shape (windows, boxes)."""
    first = np.maximum(windows[:, None, :2], boxes[:, :2])
    last = np.minimum(windows[:, None, 2:], boxes[:, 2:])
    intersection = (last - first).clip(min=0).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (windows, boxes)]
    return intersection / (areas[0][:, None] + areas[1] - intersection)


@TRANSFORMS.register_module()
class PhotoMetricDistortion(transforms.PhotoMetricDistortion):
    """mmdet's PhotoMetricDistortion, which keeps images in uint8.

    mmdet's returns float32, four times the bytes for a worker to send. Unlike mmdet's, values that
    the distortion moves out of the range of 0 to 255 are clipped.

    Example:
        >>> image = np.full((4, 4, 3), 128, np.uint8)
        >>> PhotoMetricDistortion().transform(dict(img=image))['img'].dtype
        dtype('uint8')
    """

    def transform(self, results: dict) -> dict:
        """Distort the image; see mmdet's transform for the keys."""
        results = super().transform(results)
        results['img'] = results['img'].round().clip(0, 255).astype(np.uint8)
        return results
