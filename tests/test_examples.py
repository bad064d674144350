"""EdgeNeXt under the heads of the libraries, in the configs of configs/examples.

They train in two processes in test_distributed.py.
"""

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.registry import RUNNERS
from mmpretrain import ImageClassificationInferencer, get_model
from mmseg.apis import inference_model as inference_segmentor
from mmseg.apis import init_model
from small_examples import EXAMPLES, small_example, task_of
from small_networks import ARCH

from edgenext_mm.deploy import switch_to_deploy


@pytest.mark.slow
@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_trains_and_infers(path, demo_data, tmp_path):
    assert len(path.read_text().splitlines()) <= 25
    cfg = small_example(path, demo_data)
    task = task_of(cfg)
    cfg.update(work_dir=str(tmp_path), experiment_name=path.stem)
    cfg.train_cfg.update(
        dict(
            detection=dict(max_epochs=1),
            segmentation=dict(max_iters=2, val_interval=2),
            classification=dict(epochs=1, min_iters=2),
        )[task]
    )
    if task != 'classification':
        cfg.train_dataloader.dataset.indices = 4
        cfg.val_dataloader.dataset.indices = 2
    cfg.default_hooks.checkpoint.update(interval=2 if task == 'segmentation' else 1, save_best=None)
    runner = RUNNERS.build(cfg)
    runner.train()
    assert runner.message_hub.get_scalar('train/loss').current() > 0
    base_lr = cfg.optim_wrapper.optimizer.lr
    rates = {group['initial_lr'] / base_lr for group in runner.optim_wrapper.param_groups}
    np.testing.assert_allclose(
        sorted(rates), [0.9**k for k in range(sum(ARCH['depths']) + 1, -1, -1)]
    )

    image = str(next((demo_data / 'val2017').iterdir()))
    checkpoint = (tmp_path / 'last_checkpoint').read_text()
    build, infer = DOORS[task]
    model = build(cfg, checkpoint, device='cpu')
    before = infer(model, image)
    after = infer(switch_to_deploy(model), image)
    assert before.keys() == after.keys()
    for key, value in before.items():
        np.testing.assert_allclose(after[key], value, rtol=1e-3, atol=1e-3, err_msg=key)


def detect(model, image):
    result = inference_detector(model, image)
    found = result.pred_instances
    height, width = result.ori_shape
    assert len(found.scores) > 0 and found.scores.isfinite().all()
    assert (found.bboxes >= 0).all() and (found.bboxes <= torch.tensor([width, height] * 2)).all()
    if model.with_mask:
        assert found.masks.shape == (len(found.scores), height, width)
    return {'scores': found.scores}


def segment(model, image):
    result = inference_segmentor(model, image)
    logits = result.seg_logits.data
    assert result.pred_sem_seg.data.shape[1:] == logits.shape[1:] == result.ori_shape
    return {'logits': logits}


def classify(model, image):
    scores = ImageClassificationInferencer(model)(image)[0]['pred_scores']
    assert scores.sum() == pytest.approx(1)
    return {'scores': scores}


DOORS = dict(
    detection=(init_detector, detect),
    segmentation=(init_model, segment),
    classification=(get_model, classify),
)
