"""The form for inference gives what the form for training gives."""

import copy

import pytest
import torch
import torch.nn as nn
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from golden import assert_maps_close, randomize
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch.nn.utils import parametrizations, prune

from edgenext_mm.deploy import switch_to_deploy
from edgenext_mm.errors import InputError
from edgenext_mm.models import ARCHS, EdgeNeXt


@pytest.mark.slow
@pytest.mark.parametrize('arch', ARCHS)
@pytest.mark.parametrize('output_stride', [8, 16, 32])
def test_backbone(arch, output_stride):
    model = randomize(EdgeNeXt(arch, output_stride=output_stride, drop_path_rate=0.1))
    x = torch.randn(2, 3, 97, 129)
    with torch.no_grad():
        expected = model(x)
        deployed = switch_to_deploy(model, inplace=False)
        assert_maps_close(deployed(x), expected)
        assert not model.deployed and torch.equal(model(x)[3], expected[3])

        state = copy.deepcopy(deployed.state_dict())
        model.switch_to_deploy()
        model.switch_to_deploy()
        assert model.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        fresh = EdgeNeXt(arch, output_stride=output_stride).eval()
        switch_to_deploy(fresh).load_state_dict(state)
        assert_maps_close(fresh(x), expected)
    assert not any('gamma' in key for key in state)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def build(path, scope):
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    return randomize(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('path', 'scope', 'norms'),
    [
        (CONFIGS / 'ssdlite_edgenext_small_bn_hs_coco.py', 'mmdet', 3),
        (CONFIGS / 'ssdlite_edgenext_small_coco.py', 'mmdet', 0),
        (SEG_CONFIGS / 'deeplabv3_edgenext_small_bn_hs_voc.py', 'mmseg', 4),
        (SEG_CONFIGS / 'deeplabv3_edgenext_small_voc.py', 'mmseg', 0),
        (CLS_CONFIGS / 'edgenext_small_bn_hs_imagenet.py', 'mmpretrain', 3),
        (CLS_CONFIGS / 'edgenext_small_imagenet.py', 'mmpretrain', 0),
    ],
)
def test_whole_models(path, scope, norms):
    """What is left of BatchNorm is before attention, or before a dilated convolution."""
    model = build(path, scope)
    x = torch.randn(2, 3, 128, 160)

    def outputs(model):
        with torch.no_grad():
            outs = model(x)
        flat = []
        pending = [outs]
        while pending:
            item = pending.pop(0)
            if isinstance(item, torch.Tensor):
                flat.append(item)
            else:
                pending += item
        return flat

    expected = outputs(model)
    deployed = switch_to_deploy(model, inplace=False)
    assert_maps_close(outputs(deployed), expected)
    left = [m for m in deployed.modules() if isinstance(m, (nn.BatchNorm2d, nn.Dropout2d))]
    assert len(left) == norms
    assert_maps_close(outputs(switch_to_deploy(deployed)), expected)


def test_folds_only_what_follows():
    """Not a convolution that several norms share, nor one with an activation between."""
    shared = nn.ModuleList(ConvModule(3, 3, 1, norm_cfg=dict(type='BN')) for _ in range(2))
    shared[1].conv = shared[0].conv
    model = randomize(
        nn.ModuleList([shared, nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3))])
    )
    x = torch.randn(2, 3, 8, 8)

    def outputs():
        return [model[0][0](x), model[0][1](x), model[1](x)]

    with torch.no_grad():
        expected = outputs()
        switch_to_deploy(model)
        assert_maps_close(outputs(), expected)


def test_refuses_training():
    model = EdgeNeXt('xx_small')
    for switch in (model.switch_to_deploy, lambda: switch_to_deploy(nn.Sequential(model))):
        with pytest.raises(InputError, match=r'call eval\(\) on the model first'):
            switch()
    model.eval().switch_to_deploy()
    model.eval()
    with pytest.raises(InputError, match='cannot train after switch_to_deploy'):
        model.train()


@pytest.mark.parametrize(
    'change',
    [
        lambda conv: prune.l1_unstructured(conv, 'weight', 0.5),
        parametrizations.weight_norm,
        lambda conv: conv.register_forward_hook(lambda conv, args, y: y.relu()),
        lambda conv: setattr(conv, 'forward', lambda x: x.relu().repeat(1, 2, 1, 1)),
    ],
    ids=['prune', 'weight_norm', 'hook', 'forward'],
)
def test_changed_convolutions_keep_their_norm(change):
    model = randomize(nn.Sequential(ConvModule(4, 8, 1, norm_cfg=dict(type='BN'))))
    change(model[0].conv)
    x = torch.randn(2, 4, 5, 5)
    expected = model(x)
    assert_maps_close([switch_to_deploy(model)(x)], [expected])
