"""EdgeNeXt under the heads of the libraries, in the configs of configs/examples.

They train in two processes in test_distributed.py.
"""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmpretrain import ImageClassificationInferencer, get_model
from mmseg.apis import inference_model as inference_segmentor
from mmseg.apis import init_model
from small_examples import EXAMPLES, small_example, task_of
from small_networks import ARCH

from edgenext_mm.deploy import switch_to_deploy
from edgenext_mm.models import ARCHS, EdgeNeXt


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
    assert runner.test()
    assert runner.message_hub.get_scalar('train/loss').current() > 0
    base_lr = cfg.optim_wrapper.optimizer.lr
    rates = {group['initial_lr'] / base_lr for group in runner.optim_wrapper.optimizer.param_groups}
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


def test_guide(tmp_path):
    """The guide's tables, its config and its list of examples say what is there."""
    guide = (ROOT / 'docs' / 'backbone.md').read_text()
    with torch.device('meta'):
        backbones = {arch: EdgeNeXt(arch).eval() for arch in ARCHS}
        maps = {arch: model(torch.zeros(1, 3, 64, 64)) for arch, model in backbones.items()}
    rows = {
        arch: cells.split(' | ') for arch, cells in re.findall(r'\| `(\w+)` \| (\d.*) \|', guide)
    }
    strides = [int(stride) for stride in re.findall(r'\| \d: stride (\d+) ', guide)]
    assert rows.keys() == ARCHS.keys()
    for arch, (*channels, millions) in rows.items():
        assert [x.shape[1:] for x in maps[arch]] == [
            (int(n), 64 // stride, 64 // stride)
            for n, stride in zip(channels, strides, strict=True)
        ]
        assert millions == f'{sum(p.numel() for p in backbones[arch].parameters()) / 1e6:.3f}'

    shares = re.findall(r'\| (0\.\d+) \| (0\.\d+) \| (0\.\d+) \|', guide)
    for rate, *columns in shares:
        for share, arch in zip(columns, ('xx_small', 'small'), strict=True):
            _, layers = backbones[arch].get_layer_depth('downsample_layers.0.0.weight')
            assert share == f'{float(rate) ** (layers - 1):.3f}'
    assert len(shares) == 3

    path = tmp_path / 'retinanet.py'
    path.write_text(re.search(r'```python\n(.*?)```', guide, re.S)[1])
    config, (example,) = Config.fromfile(path), [p for p in EXAMPLES if 'retinanet' in p.stem]
    for key in ('model', 'optim_wrapper'):
        assert config[key] == Config.fromfile(example)[key]
    linked = set(re.findall(r'configs/examples/(\w+\.py)', guide))
    assert linked == {example.name for example in EXAMPLES}
