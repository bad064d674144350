"""The drawn scenes."""

import cv2
import numpy as np
import pytest

from edgenext_mm.datasets.demo.scenes import CLASSES, MIN_VISIBLE, draw_scene


@pytest.mark.slow
def test_scenes_are_as_varied_as_claimed():
    scenes = [draw_scene(np.random.default_rng([9, 0, k])) for k in range(100)]
    shapes = np.array([image.shape[:2] for image, _ in scenes])
    assert (shapes.max(1) == 320).all() and shapes.min() >= 240
    assert 0.45 < (shapes[:, 1] > shapes[:, 0]).mean() < 0.75

    counts = np.array([len(objects) for _, objects in scenes])
    assert counts.min() >= 1 and counts.max() <= 10 and 5 < counts.mean() < 6

    objects = [item for _, items in scenes for item in items]
    names = [item.name for item in objects]
    assert min(names.count(name) for name in CLASSES) > 0.1 * len(objects)

    visible = np.array([item.visible for item in objects])
    assert visible.min() >= MIN_VISIBLE and visible.max() <= 1
    assert 0.1 < (visible < 0.95).mean() < 0.3
    assert (visible < 0.7).mean() > 0.04

    whole = [item.mask.astype(np.uint8) for item in objects if item.visible > 0.97]
    sizes = np.array([max(cv2.boundingRect(mask)[2:]) for mask in whole]) / 320
    assert 0.03 < sizes.min() < 0.06 and 0.5 < sizes.max() <= 0.6
    assert 0.1 < (sizes < 0.12).mean() < 0.3
    assert 0.18 < np.median(sizes) < 0.3


def test_masks_are_disjoint():
    for k in range(10):
        _, objects = draw_scene(np.random.default_rng([9, 1, k]))
        assert np.sum([item.mask for item in objects], 0).max() == 1
