"""tools/analysis/visualize_features.py."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from small_networks import ARCH, TASKS, config_of, network, noise

from edgenext_mm.analysis.features import draw_features, stage_maps
from edgenext_mm.errors import InputError
from edgenext_mm.models import EdgeNeXt


def distances(x):
    """From the mean over the image of a map (channels, h, w)."""
    return (x - x.mean(dim=(1, 2), keepdim=True)).square().sum(dim=0).sqrt()


@pytest.mark.parametrize('bn_hs', [False, True])
def test_maps_of_the_first_image(bn_hs):
    torch.manual_seed(0)
    backbone = EdgeNeXt(dict(ARCH, bn_hs=bn_hs), layer_scale_init_value=0.1).eval()
    images, seen = torch.randn(2, 3, 64, 96), []
    xca = backbone.stages[2][-1].xca
    handle = xca.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    outs = backbone(images)
    handle.remove()
    maps = stage_maps(backbone, images)
    for out, (stage, heads) in zip(outs, maps, strict=True):
        torch.testing.assert_close(stage, distances(out[0]))
        assert heads.shape == (0 if out is outs[0] else 2, *out.shape[2:])
    # The third stage has 24 channels in 2 heads, and a map of 4x6 places.
    q, k, v = xca.qkv(seen[0][0]).reshape(24, 3, 2, 12).permute(1, 2, 3, 0)
    attention = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * xca.temperature
    mixed = attention.softmax(dim=-1) @ v
    for head, heat in zip(mixed, maps[2].heads, strict=True):
        torch.testing.assert_close(heat, distances(head.unflatten(1, (4, 6))))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.modules())
    backbone.switch_to_deploy()
    torch.testing.assert_close(stage_maps(backbone, images), maps, rtol=1e-3, atol=1e-4)


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    return str(tmp_path / 'image.png')


@pytest.mark.parametrize('task', TASKS)
def test_picture(image, tmp_path, task):
    cfg = config_of(task)
    if task == 'detection':  # an image that is padded
        cfg.model.data_preprocessor.pad_size_divisor = 96
    torch.save(noise(task), tmp_path / 'weights.pth')
    figure = draw_features(cfg, str(tmp_path / 'weights.pth'), image)
    drawn = [axes for axes in figure.axes if axes.images]
    titles = [axes.get_title() for axes in drawn]
    heads = ['head 1', 'head 2']
    assert titles == ['stage 1', 'stage 2', *heads, 'stage 3', *heads, 'stage 4', *heads]
    for axes in drawn:
        shown, heat = (picture.get_array() for picture in axes.images)
        assert shown.shape == heat.shape and np.ptp(shown) > 50 and np.ptp(heat) > 0
    if task == 'detection':
        assert shown.shape == (256, 256)


def test_other_backbones(image, tmp_path):
    cfg = config_of('classification')
    cfg.model.backbone = dict(type='LeNet5')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'weights.pth')
    with pytest.raises(InputError, match=r'LeNet5 as backbone.*edgenext_mm\.EdgeNeXt: take'):
        draw_features(cfg, str(tmp_path / 'weights.pth'), image)


def test_tool(run_tool, image, tmp_path):
    config, settings = TASKS['classification']
    model = dict(settings, backbone=dict(arch=dict(_delete_=True, **ARCH)))
    (tmp_path / 'small.py').write_text(f'_base_ = {str(config)!r}\nmodel = {model!r}\n')
    torch.save(network('classification').state_dict(), tmp_path / 'weights.pth')
    run_tool('analysis/visualize_features.py', 'small.py', 'weights.pth', image)
    with Image.open(tmp_path / 'work_dirs/small/features.png') as picture:
        assert picture.size == (600, 880)
