import numpy as np
import pytest
import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from edgenext_mm.runtime.boxes import select

SETTINGS = dict(score_thr=0.01, nms_pre=30, iou_threshold=0.5, max_per_img=20, min_bbox_size=0)


def theirs(boxes, scores, anchors, scale, settings):
    """What mmdet's heads do after boxes are decoded."""
    chosen = []
    for part, of_part in zip(np.split(boxes, anchors), np.split(scores, anchors), strict=False):
        threshold, most = settings['score_thr'], settings['nms_pre']
        found = filter_scores_and_topk(torch.tensor(of_part), threshold, most)
        chosen.append((torch.tensor(part)[found[2]], found[0], found[1]))
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    results = BaseDenseHead._bbox_post_process(
        None,
        InstanceData(bboxes=boxes, scores=scores, labels=labels),
        ConfigDict(settings, nms=dict(type='nms', iou_threshold=settings['iou_threshold'])),
        rescale=True,
        img_meta=dict(scale_factor=scale),
    )
    return [values.numpy() for values in (results.bboxes, results.scores, results.labels)]


def random_boxes(rng, count, side):
    corners = rng.random((count, 2, 2), np.float32) * side
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def inputs(kind, seed):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 120, 320), rng.random((120, 7), np.float32) ** 4
    if kind == 'on a grid':  # equal boxes, and overlaps of exactly the threshold
        boxes = np.round(boxes / 80) * 80
    elif kind == 'one place':
        boxes = boxes[:1] + rng.random((120, 4), np.float32)
    elif kind == 'no area':
        boxes[::2, 2] = boxes[::2, 0]
        boxes[1::4] = 0
    elif kind == 'none above the threshold':
        scores = scores * 0 + np.float32(0.01)
    elif kind == 'one class':
        scores = scores[:, :1]
    return boxes.astype(np.float32), scores.astype(np.float32)


KINDS = ['random', 'on a grid', 'one place', 'no area', 'none above the threshold', 'one class']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('smallest', [-1, 0, 9])
def test_equals_mmdet(kind, smallest):
    settings = SETTINGS | dict(min_bbox_size=smallest)
    for seed in range(20):
        scale = (1.37, 0.61) if seed % 2 else (1.0, 1.0)
        boxes, scores = inputs(kind, seed)
        ours = select(boxes, scores, [80, 39, 1], scale, settings)
        for found, expected in zip(
            ours, theirs(boxes, scores, [80, 119], scale, settings), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        assert ours[0].shape == (len(ours[1]), 4) and ours[0].dtype == np.float32
        if kind == 'random':
            assert 0 < len(ours[1]) <= 20


def test_the_first_of_equal_scores_wins():
    """In mmdet it depends on how PyTorch sorts on this processor."""
    boxes = np.array([[0, 0, 8, 8], [0, 0, 8, 7], [20, 0, 28, 8]] * 40, np.float32)
    scores = np.full((120, 1), 0.5, np.float32)
    found, _, labels = select(boxes, scores, [120], (1, 1), SETTINGS | dict(nms_pre=2))
    assert found.tolist() == [[0, 0, 8, 8]] and labels.tolist() == [0]
    found = select(boxes, scores, [60, 60], (1, 1), SETTINGS)[0]
    assert found.tolist() == [[0, 0, 8, 8], [20, 0, 28, 8]]


def test_all_anchors_above_the_threshold():
    rng = np.random.default_rng(0)
    boxes, scores = random_boxes(rng, 3232, 320), rng.random((3232, 80), np.float32)
    settings = SETTINGS | dict(nms_pre=1000, max_per_img=200)
    anchors = [2400, 600, 150, 54, 24, 4]
    ours = select(boxes, scores, anchors, (1, 1), settings)
    expected = theirs(boxes, scores, np.cumsum(anchors[:-1]), (1.0, 1.0), settings)
    for found, wanted in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
