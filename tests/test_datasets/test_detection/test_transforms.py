"""SSD's augmentations give what mmdet's give."""

import random

import numpy as np
import pytest
import torch
from mmdet.datasets import transforms
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from edgenext_mm.datasets import MinIoURandomCrop, PhotoMetricDistortion

BOXES = {
    'none': np.zeros((0, 4)),
    'large': [[20, 10, 110, 80]],
    'many': [[5, 5, 60, 50], [30, 30, 90, 85], [100, 60, 118, 88], [70, 10, 115, 40]],
}


def sample(boxes):
    """An image whose first channel is x and whose second is y, with boxes, labels and masks."""
    y, x = np.mgrid[:90, :120].astype(np.uint8)
    n = len(boxes)
    masks = np.zeros((n, 90, 120), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, np.int64(boxes), strict=True):
        mask[top:bottom, left:right] = 1
    return dict(
        img=np.stack([x, y, x], 2),
        img_shape=(90, 120),
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(n),
        gt_ignore_flags=np.arange(n) % 2 == 1,
        gt_masks=BitmapMasks(masks, 90, 120),
        gt_seg_map=x,
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', BOXES)
def test_windows_have_mmdets_distribution(name):
    """Left, top, width and height of 1,500 windows: no quantile of theirs is far from mmdet's."""
    np.random.seed(0)
    boxes = BOXES[name]
    # No window has an IoU of 0.1 with all of the many boxes, so larger bounds would only take time.
    options = dict(min_ious=(0.1,)) if name == 'many' else {}
    windows = {}
    for transform in (transforms.MinIoURandomCrop(**options), MinIoURandomCrop(**options)):
        crops = [transform(sample(boxes))['img'] for _ in range(1500)]
        corners = [crop[0, 0, :2] for crop in crops]
        windows[type(transform)] = np.hstack([corners, [crop.shape[:2] for crop in crops]])
    ours, theirs = windows.values()
    assert abs((ours == ours.max(0)).mean(0) - (theirs == theirs.max(0)).mean(0)).max() < 0.05
    deciles = np.arange(0.1, 1, 0.1)
    distance = abs(np.quantile(ours, deciles, 0) - np.quantile(theirs, deciles, 0))
    assert distance.max() <= 0.04 * 120


def test_crops_all_that_belongs_to_an_image():
    np.random.seed(0)
    boxes = np.array(BOXES['many'])
    lengths = set()
    for _ in range(300):
        results = MinIoURandomCrop()(sample(boxes))
        height, width = results['img_shape']
        left, top = map(int, results['img'][0, 0, :2])
        labels = results['gt_bboxes_labels']
        lengths.add(len(labels))
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 - (left, top)
        inside = ((centers > 0) & (centers < (width, height))).all(1)
        assert labels.tolist() == inside.nonzero()[0].tolist()
        assert results['gt_ignore_flags'].tolist() == (labels % 2 == 1).tolist()
        expected = (boxes[labels] - (left, top) * 2).clip(0, [width, height] * 2)
        assert results['gt_bboxes'].tensor.tolist() == expected.tolist()
        assert results['gt_seg_map'].tolist() == results['img'][..., 0].tolist()
        for mask, (x, y, right, bottom) in zip(results['gt_masks'].masks, expected, strict=True):
            assert mask.shape == (height, width)
            assert mask.sum() == mask[y:bottom, x:right].sum() == (right - x) * (bottom - y)
    assert lengths >= {1, 2, 4}


def test_distorts_as_mmdet_does():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for seed in range(20):
        outs = []
        for transform in (transforms.PhotoMetricDistortion(), PhotoMetricDistortion()):
            np.random.seed(seed)
            random.seed(seed)
            outs.append(transform(dict(img=image))['img'])
        theirs, ours = outs
        assert ours.dtype == np.uint8
        assert np.abs(ours - theirs.clip(0, 255)).max() <= 0.5
