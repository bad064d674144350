"""A DeepLabv3 as CVNets saves it, built by what is known of its names."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import SEG_CONFIGS
from golden import randomize
from mmengine.config import Config
from mmseg.registry import MODELS

from edgenext_mm.checkpoint import load_pretrained
from edgenext_mm.models import EdgeNeXt

DATA = Path(__file__).parents[1] / 'data'
KEYS = json.loads((DATA / 'keys.json').read_text())
#: Ours, without and with weight, bias and statistics.
HEAD = {
    'image_pool.1': 'aspp.aspp_layer.convs.4.aspp_pool.conv_1x1.block',
    **{f'aspp_modules.{i}': f'aspp.aspp_layer.convs.{i}.block' for i in range(4)},
    'bottleneck': 'aspp.aspp_layer.project.block',
}


def segmentor(arch='xx_small'):
    cfg = Config.fromfile(SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_voc.py').model
    cfg.backbone.update(arch=arch, init_cfg=None, out_indices=(3,))
    model = MODELS.build(cfg)
    randomize(model.backbone)
    for norm in model.decode_head.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return model.eval()


def by_stage(name):
    part, stage, *_ = name.split('.')
    return int(stage), part == 'stages'


def of_cvnets(model, order=None, scrambled=True):
    """Return the state dict, with the encoder in an order of the reference's.

    Its modules have other names if they are scrambled; tensors are called as PyTorch calls them.
    """
    bn_hs = hasattr(model.backbone.stages[0][0].norm, 'running_var')
    names = KEYS['edgenext_xx_small_bn_hs' if bn_hs else 'edgenext_xx_small']
    names = [name for name in names if not name.startswith(('norm.', 'head.'))]
    state = model.state_dict()
    weights, modules = {}, {}
    for name in sorted(names, key=order) if order else names:
        module, _, tensor = name.rpartition('.')
        other = modules.setdefault(module, f'layer_{len(modules)}') if scrambled else module
        weights[f'encoder.{other}.{tensor}'] = state[f'backbone.{name}']
    for ours, theirs in HEAD.items():
        for part, name in (('conv', 'conv'), ('bn', 'norm')):
            start = f'decode_head.{ours}.{part}.'
            for key in [key for key in state if key.startswith(start)]:
                weights[f'seg_head.{theirs}.{name}.{key.removeprefix(start)}'] = state[key]
    for kind in ('weight', 'bias'):
        weights[f'seg_head.classifier.block.conv.{kind}'] = state[f'decode_head.conv_seg.{kind}']
    return weights


@pytest.mark.parametrize(
    ('arch', 'order'), [('xx_small', None), ('xx_small', by_stage), ('xx_small_bn_hs', None)]
)
def test_converts(run_tool, tmp_path, monkeypatch, capsys, arch, order):
    model = segmentor(arch)
    weights = of_cvnets(model, order) | {'encoder.classifier_norm.weight': torch.ones(168)}
    torch.save({'model_state_dict': weights}, tmp_path / 'checkpoint_ema.pt')
    with zipfile.ZipFile(tmp_path / 'EdgeNeXt_DeepLabV3.zip', 'w') as archive:
        archive.write(tmp_path / 'checkpoint_ema.pt', 'EdgeNeXt/checkpoint_ema.pt')
        archive.writestr('__MACOSX/EdgeNeXt/._checkpoint_ema.pt', b'')
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    out = tmp_path / 'ours.pth'
    run_tool('convert_checkpoint.py', 'edgenext://deeplabv3_small_voc', out, '--from', 'cvnets')
    said = f'wrote DeepLabv3 of 128 channels and 21 classes on {arch}, without 1 other tensors'
    assert said in capsys.readouterr().out
    x = torch.randn(1, 3, 96, 64)
    other = segmentor(arch)
    other.load_state_dict(torch.load(out)['state_dict'])
    assert torch.equal(other(x), model(x))


def test_starts_from_it(tmp_path):
    """Also without a conversion before, and a backbone as well."""
    model = segmentor()
    path = str(tmp_path / 'checkpoint.pt')
    torch.save(of_cvnets(model), path)
    backbone, whole = EdgeNeXt('xx_small', output_stride=16).eval(), segmentor()
    load_pretrained(backbone, path)
    load_pretrained(whole, path)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(backbone(x)[3], model.backbone(x)[0])
    # What the rules of all weights allow: fewer stages, output norms, more positions.
    part = EdgeNeXt(
        'xx_small', out_indices=(0, 1), out_norm=True, position_stages=(1, 2, 3), output_stride=16
    ).eval()
    load_pretrained(part, path)
    part.out_norms = None
    assert torch.equal(part(x)[1], backbone(x)[1])
    assert torch.equal(whole(x), model(x))


def exchanged(weights, one, other):
    """Exchange two tensors in the order of the encoder, which have the same shape."""
    keys = [*weights]
    places = [next(i for i, key in enumerate(keys) if part in key) for part in (one, other)]
    first, second = (keys[i] for i in places)
    assert weights[first].shape == weights[second].shape
    keys[places[0]], keys[places[1]] = second, first
    return {key: weights[key] for key in keys}


def test_others_are_refused(tmp_path, run_tool):
    model = segmentor()
    named = of_cvnets(model, scrambled=False)
    fewer = {
        key: value for key, value in of_cvnets(model).items() if key != 'encoder.layer_20.weight'
    }
    for weights, message in (
        (exchanged(named, '1.norm.weight', '1.norm.bias'), r'differ from line \d+'),
        (exchanged(named, 'norm_xca.weight', '1.1.norm.weight'), r'norm_xca.*norm\.weight'),
        (fewer, r'differ from line 3\d of'),
        (model.state_dict(), 'no DeepLabv3 of CVNets'),
    ):
        torch.save(weights, tmp_path / 'wrong.pt')
        with pytest.raises(SystemExit, match=message):
            run_tool('convert_checkpoint.py', tmp_path / 'wrong.pt', 'out', '--from', 'cvnets')
        assert not (tmp_path / 'out').exists()
