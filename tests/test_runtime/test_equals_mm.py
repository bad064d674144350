"""The predictor around a network of PyTorch finds what the libraries' inferencers find."""

import numpy as np
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from edgenext_mm.analysis.inference import load_inferencer
from edgenext_mm.images import read_image
from edgenext_mm.runtime import Predictor


class Session:
    """What a file would hold: normalization, the network and the decoding of boxes."""

    def __init__(self, model, task, form, names, prepare, **settings):
        self.model, given = model, model.data_preprocessor
        self.mean, self.std = given.mean, given.std
        self.metadata = dict(
            format=1,
            task=task,
            classes=[str(i) for i in range(settings.pop('classes'))],
            input=dict(batch=1, size=None, channels=3, color_type='color'),
            mean=self.mean.flatten().tolist(),
            prepare=prepare,
            output=dict(form=form, names=names),
            **settings,
        )

    @torch.no_grad()
    def run(self, inputs):
        image = (torch.from_numpy(inputs['image'])[0] - self.mean) / self.std
        outputs = getattr(self, self.metadata['task'])(self.model.extract_feat(image[None]), image)
        return [output.numpy() for output in outputs]

    def detection(self, feats, image):
        head, size = self.model.bbox_head, image.shape[1:]
        logits, deltas = head(feats)
        anchors = head.prior_generator.grid_priors([x.shape[2:] for x in logits], device='cpu')
        logits, deltas = (
            torch.cat([x[0].permute(1, 2, 0).reshape(-1, width) for x in maps])
            for maps, width in ((logits, head.cls_out_channels), (deltas, 4))
        )
        boxes = head.bbox_coder.decode(torch.cat(anchors), deltas, max_shape=size)
        return boxes[None], logits.softmax(-1)[None, :, :-1]

    def segmentation(self, feats, image):
        meta = [dict(img_shape=tuple(image.shape[1:]))]
        return [self.model.decode_head.predict(feats, meta, None)]

    def classification(self, feats, image):
        return [self.model.head(feats).softmax(1)]


def resized(step, **settings):
    ways = dict(interpolation='bilinear', backend='cv2', keep_ratio=False) | dict(step)
    return ways | dict(scale=list(step.scale), **settings)


@pytest.fixture
def load(tmp_path):
    """The model of a config with random weights, its inferencer, and a step of its pipeline."""

    def loaded(config):
        cfg = Config.fromfile(config)
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'a.pth')
        predict, _ = load_inferencer(cfg, str(tmp_path / 'a.pth'), 'cpu')
        steps = cfg.test_dataloader.dataset.pipeline
        step = next(step for step in steps if step.type == 'Resize')
        return model.eval(), predict, step

    return loaded


@pytest.fixture
def images(demo_data):
    return [read_image(path) for path in sorted((demo_data / 'val2017').iterdir())[:3]]


@pytest.mark.slow
def test_objects(load, images):
    model, predict, step = load(CONFIGS / 'ssdlite_edgenext_xx_small_demo.py')
    head, test = model.bbox_head, model.test_cfg
    rows, columns = step.scale[::-1]
    with torch.no_grad():
        maps = [x.shape[2:] for x in model.extract_feat(torch.zeros(1, 3, rows, columns))]
    anchors = [len(level) for level in head.prior_generator.grid_priors(maps, device='cpu')]
    keys = ('score_thr', 'nms_pre', 'max_per_img', 'min_bbox_size')
    post = {key: test[key] for key in keys} | dict(
        iou_threshold=test.nms.iou_threshold, anchors=anchors
    )
    names = ['boxes', 'scores']
    session = Session(
        model,
        'detection',
        'boxes',
        names,
        [resized(step)],
        classes=head.num_classes,
        postprocess=post,
    )
    predictor = Predictor('a.pth', session=session)
    for image in images:
        ours, theirs = predictor(image), predict(image)
        assert len(ours.scores) == len(theirs.scores) > 10
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        # Those of equal scores may have changed places, and of the last ones others may be left.
        same = np.abs(ours.boxes[:, None] - theirs.boxes).max(2) < 0.05
        same &= ours.labels[:, None] == theirs.labels
        same &= np.abs(ours.scores[:, None] - theirs.scores) < 1e-5
        assert same.any(1)[ours.scores > ours.scores[-1] + 1e-5].all()


@pytest.mark.slow
def test_masks(load, images):
    model, predict, step = load(SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py')
    count = model.decode_head.num_classes
    session = Session(model, 'segmentation', 'logits', ['logits'], [resized(step)], classes=count)
    predictor = Predictor('a.pth', session=session)
    for image in images:
        ours, theirs = predictor(image), predict(image)
        assert ours.mask.shape == theirs.mask.shape == image.shape[:2]
        assert (ours.mask == theirs.mask).mean() > 0.999


@pytest.mark.slow
def test_classes(load, images):
    model, predict, step = load(CLS_CONFIGS / 'edgenext_xx_small_demo.py')
    session = Session(model, 'classification', 'scores', ['scores'], [resized(step)], classes=6)
    predictor = Predictor('a.pth', session=session)
    for image in images:
        np.testing.assert_allclose(predictor(image).scores, predict(image).scores, atol=1e-5)
