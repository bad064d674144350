import pytest
import torch
from conftest import CONFIGS
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from edgenext_mm.analysis.complexity import count_complexity


def build(name, **train_cfg):
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / f'ssdlite_edgenext_{name}_coco.py')
    cfg.model.train_cfg.update(train_cfg)
    return MODELS.build(cfg.model)


def batch(boxes, size=320):
    sample = DetDataSample(metainfo=dict(img_shape=(size, size), scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes), labels=torch.zeros(len(boxes), dtype=torch.long)
    )
    image = torch.randint(256, (3, size, size), dtype=torch.uint8)
    return dict(inputs=[image], data_samples=[sample])


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'parameters', 'multiply_adds'),
    [
        ('small', (6.20, 6.32), (2.05, 2.20)),
        ('small_bn_hs', (6.20, 6.32), (2.05, 2.20)),
        ('x_small', (3.0, 3.1), (0.95, 1.05)),
        ('xx_small', (2.0, 2.1), (0.53, 0.58)),
    ],
)
def test_complexity_is_the_papers(name, parameters, multiply_adds):
    rows = count_complexity(build(name), (320, 320))
    assert list(rows) == ['backbone', 'neck', 'bbox_head', 'model']
    assert parameters[0] < rows['model'][0] / 1e6 < parameters[1]
    assert multiply_adds[0] < rows['model'][1] / 1e9 < multiply_adds[1]
    for column in zip(*rows.values(), strict=True):
        assert sum(column[:-1]) == column[-1]


def test_anchors_cover_the_image():
    model = build('xx_small')
    with torch.no_grad():
        maps = model.neck(model.backbone(torch.zeros(2, 3, 320, 320)))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (512, 20, 20),
        (256, 10, 10),
        (256, 5, 5),
        (128, 3, 3),
        (128, 2, 2),
        (64, 1, 1),
    ]
    generator = model.bbox_head.prior_generator
    assert generator.num_base_priors == [6, 6, 6, 6, 6, 4]
    anchors = generator.grid_priors([x.shape[2:] for x in maps], device='cpu')
    scales = 320 * torch.linspace(0.1, 1.05, 7)
    for level, count, scale, larger in zip(
        anchors, generator.num_base_priors, scales, scales[1:], strict=False
    ):
        sizes = level[:count, 2:] - level[:count, :2]
        ratios = torch.tensor([1, 1, 1 / 2, 2, 1 / 3, 3])[:count]
        areas = torch.tensor([scale, (scale * larger).sqrt(), *[scale] * 4])[:count] ** 2
        torch.testing.assert_close(sizes[:, 0] * sizes[:, 1], areas)
        torch.testing.assert_close((sizes[:, 1] / sizes[:, 0]).sort()[0], ratios.sort()[0])
        centres = (level[:, :2] + level[:, 2:]) / 2
        assert centres.mean(0).tolist() == pytest.approx([160, 160], abs=1)


def test_single_image_trains_and_predicts():
    torch.manual_seed(0)
    model = build('xx_small').train()
    data = model.data_preprocessor(batch([[20.0, 40, 120, 200]]), training=True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name

    model.eval()
    with torch.no_grad():
        prediction = model.test_step(batch([[20.0, 40, 120, 200]]))[0].pred_instances
    assert len(prediction) == 200
    assert (prediction.scores >= 0.01).all() and (prediction.labels < 80).all()


def test_images_without_objects_take_part():
    """With a minimum of negatives, which is no change where there are objects enough."""
    torch.manual_seed(0)
    empty = [torch.zeros(0, 4).tolist(), [[20.0, 40, 120, 200], [50.0, 60, 250, 300]]]
    losses = {}
    for minimum in (0, 10):
        torch.manual_seed(0)
        model = build('xx_small', min_negatives=minimum).train()
        for name, boxes in zip(('without', 'with'), empty, strict=True):
            torch.manual_seed(1)
            data = batch(boxes)
            data['data_samples'][0].gt_instances.bboxes = torch.tensor(boxes).view(-1, 4)
            data = model.data_preprocessor(data, training=True)
            loss, terms = model.parse_losses(model(**data, mode='loss'))
            losses[name, minimum] = terms['loss_cls'].item()
            if minimum:
                loss.backward()
    assert losses['without', 0] == 0
    assert losses['without', 10] > 10  # about log(81) for each of the ten negatives
    assert losses['with', 10] == losses['with', 0] > 0
    assert model.bbox_head.cls_convs[0][-1].bias.grad.abs().sum() > 0
