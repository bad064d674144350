"""SSD's augmentations (arXiv 1512.02325, section 2.2), in less time than mmdet's."""

import numpy as np
from mmdet.datasets import transforms
from mmdet.structures.bbox import autocast_box_type

from ...registry import TRANSFORMS

TRIALS = 50


@TRANSFORMS.register_module()
class MinIoURandomCrop(transforms.MinIoURandomCrop):
    """mmdet's MinIoURandomCrop, which draws the windows of a round together.

    The windows have the distribution of mmdet's: 50 of them are drawn for a random bound on the IoU
    with each box, and the first that fits counts; if none does, there is another round with another
    bound. But they start at the first pixel, where mmdet's start at the second at the earliest.
    """

    @autocast_box_type()
    def transform(self, results):
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

    def _random_windows(self, height, width):
        """Return windows (left, top, right, bottom) of aspect ratios of 1/2 to 2, (n, 4)."""
        size = np.array([width, height])
        sides = np.random.uniform(self.min_crop_size * size, size, (TRIALS, 2))
        sides = sides[(sides.max(1) <= 2 * sides.min(1)) & (sides.min(1) >= 1)]
        first = np.random.uniform(0, size - sides)
        return np.hstack([first, first + sides]).astype(int)

    def _crop(self, results, window, inside):
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


def _centers_inside(windows, centers):
    """Return whether each window has each center inside, shape (windows, boxes)."""
    first, last = windows[:, None, :2], windows[:, None, 2:]
    return ((first < centers) & (centers < last)).all(2)


def _ious(windows, boxes):
    """Return the IoU of each window with each box, shape (windows, boxes)."""
    first = np.maximum(windows[:, None, :2], boxes[:, :2])
    last = np.minimum(windows[:, None, 2:], boxes[:, 2:])
    intersection = (last - first).clip(min=0).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (windows, boxes)]
    return intersection / (areas[0][:, None] + areas[1] - intersection)


@TRANSFORMS.register_module()
class PhotoMetricDistortion(transforms.PhotoMetricDistortion):
    """mmdet's PhotoMetricDistortion, which keeps images in uint8.

    A worker then sends a quarter of the bytes to the model, which normalizes them. Unlike mmdet's,
    it clips what the distortion moves out of the range of 0 to 255.
    """

    def transform(self, results):
        """Distort the image; see mmdet's transform for the keys."""
        results = super().transform(results)
        results['img'] = results['img'].round().clip(0, 255).astype(np.uint8)
        return results
