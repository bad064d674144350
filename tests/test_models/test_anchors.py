import pytest
import torch
from conftest import CONFIGS
from mmdet.models.task_modules.prior_generators import SSDAnchorGenerator
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from edgenext_mm.errors import InputError
from edgenext_mm.models import SSDLiteAnchorGenerator

RATIOS = [[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]]
SHARES = [0.1 + 0.95 * i / 6 for i in range(7)]
SQUARE = [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]


def mmdets(strides, ratios, sizes):
    return SSDAnchorGenerator(
        strides=strides,
        ratios=ratios,
        min_sizes=sizes[:-1],
        max_sizes=sizes[1:],
        scale_major=False,
    )


@pytest.fixture(scope='module')
def model():
    """The paper's detector at its smallest."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / 'ssdlite_edgenext_xx_small_coco.py')
    cfg.model.backbone.arch = dict(depths=(1, 1, 1, 1), dims=(24, 48, 88, 168), num_heads=4)
    return MODELS.build(cfg.model).eval()


@pytest.mark.parametrize(
    ('stride', 'ratios', 'shares', 'maps', 'strides', 'size'),
    [
        # What the configs said before: of the paper, and of the demo.
        (16, RATIOS, SHARES, SQUARE, [16, 32, 64, 107, 160, 320], 320),
        (
            *(8, [*RATIOS[:4], [2]], [0.06, 0.13, 0.26, 0.5, 0.75, 1.0]),
            *([(32, 32), (16, 16), (8, 8), (4, 4), (1, 1)], [8, 16, 32, 64, 256], 256),
        ),
    ],
)
def test_same_as_mmdets_to_the_bit(stride, ratios, shares, maps, strides, size):
    generator = SSDLiteAnchorGenerator(stride, ratios, shares)
    expected = mmdets(strides, ratios, [size * share for share in shares])
    assert generator.num_base_priors == expected.num_base_priors
    assert generator.num_levels == expected.num_levels
    anchors = [g.grid_priors(maps, device='cpu') for g in (generator, expected)]
    assert all(map(torch.equal, *anchors))
    for shape in ((size, size), (size // 2, size)):
        flags = [g.valid_flags(maps, shape, 'cpu') for g in (generator, expected)]
        assert all(map(torch.equal, *flags))


@pytest.mark.parametrize('shape', [(512, 512), (384, 640), (640, 384), (256, 256), (300, 500)])
def test_anchors_reach_all_edges(model, shape):
    """The cells of each map divide the image, as the network sees it, evenly."""
    image = torch.randint(256, (3, *shape), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(inputs=[image], data_samples=None))['inputs']
    height, width = inputs.shape[2:]
    assert (height, width) == tuple(-(-side // 32) * 32 for side in shape)
    with torch.no_grad():
        maps = [tuple(x.shape[2:]) for x in model.neck(model.backbone(inputs))]
    generator = model.bbox_head.prior_generator
    side = (height * width) ** 0.5
    for level, (rows, columns), count, share in zip(
        generator.grid_priors(maps, device='cpu'),
        maps,
        generator.num_base_priors,
        SHARES,
        strict=False,
    ):
        assert len(level) == rows * columns * count
        centers = (level[::count, :2] + level[::count, 2:]) / 2
        assert centers[0].tolist() == pytest.approx([width / columns / 2, height / rows / 2], abs=1)
        assert (centers[0] + centers[-1]).tolist() == pytest.approx([width, height], abs=rows)
        squares = level[::count, 2:] - level[::count, :2]
        torch.testing.assert_close(squares, torch.full_like(squares, share * side))


def test_anchors_of_padding_are_not_valid(model):
    """An image of half the width of its batch."""
    maps = [(10, 20), (5, 10), (3, 5), (2, 3), (1, 2), (1, 1)]
    flags = model.bbox_head.prior_generator.valid_flags(maps, (160, 160), 'cpu')
    assert flags[0].view(10, 20, 6)[:, :10].all() and not flags[0].view(10, 20, 6)[:, 10:].any()


def test_predictions_are_those_of_today(model):
    """The boxes of a checkpoint of the time when anchors were fixed."""
    fixed = Config.fromfile(CONFIGS / 'ssdlite_edgenext_xx_small_coco.py').model
    fixed.backbone.arch = dict(depths=(1, 1, 1, 1), dims=(24, 48, 88, 168), num_heads=4)
    sizes = [320 * share for share in SHARES]
    fixed.bbox_head.anchor_generator = dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        strides=[16, 32, 64, 107, 160, 320],
        ratios=RATIOS,
        min_sizes=sizes[:-1],
        max_sizes=sizes[1:],
    )
    init_default_scope('mmdet')
    fixed = MODELS.build(fixed).eval()
    assert not any(fixed.load_state_dict(model.state_dict()))
    maps = [
        torch.randn(1, channels, *shape)
        for channels, shape in zip((512, 256, 256, 128, 128, 64), SQUARE, strict=True)
    ]
    meta = [dict(img_shape=(320, 320), scale_factor=(1.0, 1.0))]
    with torch.no_grad():
        ours, theirs = (
            detector.bbox_head.predict_by_feat(*detector.bbox_head(maps), batch_img_metas=meta)[0]
            for detector in (model, fixed)
        )
    assert len(ours) and torch.equal(ours.bboxes, theirs.bboxes)


@pytest.mark.parametrize('sizes', [[0.1, 0.5], [0.1, 0.5, 0.4], [0.0, 0.5, 0.9]])
def test_wrong_sizes(sizes):
    with pytest.raises(InputError, match='3 numbers that grow'):
        SSDLiteAnchorGenerator(16, [[2], [2]], sizes)
