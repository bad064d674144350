"""Weights for other implementations, from the command line.

That the networks there give the same outputs is tested with the classifier.
"""

import pytest
import timm
import torch
from golden import randomize
from mmpretrain.registry import MODELS
from safetensors.torch import load_file

from edgenext_mm.checkpoint import load_pretrained
from edgenext_mm.checkpoint.families import rename
from edgenext_mm.models import ARCHS


def classifier(arch):
    head = dict(
        type='edgenext_mm.EdgeNeXtHead',
        num_classes=10,
        in_channels=ARCHS[arch]['dims'][-1],
        bn_hs=ARCHS[arch].get('bn_hs', False),
    )
    backbone = dict(type='edgenext_mm.EdgeNeXt', arch=arch)
    return MODELS.build(dict(type='edgenext_mm.EdgeNeXtClassifier', backbone=backbone, head=head))


@pytest.fixture
def convert(run_tool, tmp_path, capsys):
    """Return a function that saves and converts a state dict; it returns what the tool prints."""

    def run(state, out, names):
        torch.save(state, tmp_path / 'source.pth')
        run_tool('convert_checkpoint.py', tmp_path / 'source.pth', out, '--to', names)
        return capsys.readouterr().out

    return run


def test_safetensors(convert, run_tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    state = randomize(classifier('xx_small')).state_dict()
    reference = {rename(key, 'reference'): value for key, value in state.items()}
    torch.save({'model': reference}, tmp_path / 'edgenext_xx_small.pth')
    out = tmp_path / 'small.safetensors'
    run_tool('convert_checkpoint.py', 'edgenext://xx_small', out, '--to', 'safetensors')
    assert capsys.readouterr().out == f'wrote xx_small with a classifier to {out}\n'
    assert all(torch.equal(load_file(out)[key], value) for key, value in state.items())
    load_pretrained(classifier('xx_small'), str(out))
    for path, names in ((tmp_path / 'a.pth', 'safetensors'), (out, 'timm')):
        with pytest.raises(SystemExit, match='safetensors file is written with --to safetensors'):
            convert(state, path, names)


def test_a_detectors_backbone(convert, tmp_path):
    state = randomize(classifier('xx_small')).state_dict()
    backbone = {key: value for key, value in state.items() if key.startswith('backbone.')}
    norm = {'backbone.out_norms.3.weight': torch.ones(168)}
    out = tmp_path / 'timm.pth'
    text = convert(backbone | norm | {'bbox_head.weight': torch.ones(2)}, out, 'timm')
    assert text == (
        f'wrote xx_small without a classifier to {out}\n'
        f'left out 2 other tensors of {tmp_path / "source.pth"}: '
        'backbone.out_norms.3.weight, bbox_head.weight\n'
    )
    result = timm.create_model('edgenext_xx_small', num_classes=0).load_state_dict(
        torch.load(out), strict=False
    )
    assert not result.unexpected_keys
    assert set(result.missing_keys) == {'head.norm.weight', 'head.norm.bias'}


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        ('backbone.stages.0.0.gamma', 'is not a whole xx_small: 159 of 160 tensors fit; 1 missing'),
        ('head.fc.bias', r'is not a whole xx_small: .*1 missing \(head\.fc\.bias\)'),
        (
            ('backbone.stages.3.', 'backbone.downsample_layers.3.'),
            r'is not a whole xx_small: .* missing \(backbone\.downsample_layers\.3\.0',
        ),
        ('backbone', 'does not hold one of xx_small, x_small'),
    ],
)
def test_parts_are_refused(convert, tmp_path, missing, message):
    state = classifier('xx_small').state_dict()
    part = {key: value for key, value in state.items() if not key.startswith(missing)}
    with pytest.raises(SystemExit, match=message):
        convert(part, tmp_path / 'timm.pth', 'timm')
    assert not (tmp_path / 'timm.pth').exists()


def test_networks_that_others_lack(convert, tmp_path):
    for arch, names in (
        ('xx_small_bn_hs', 'timm'),
        ('xx_small_bn_hs', 'mmpretrain'),
        ('small_rw', 'mmpretrain'),
        ('small_rw', 'reference'),
    ):
        with pytest.raises(SystemExit, match=f'is {arch}, which {names} does not have'):
            convert(classifier(arch).state_dict(), tmp_path / 'out.pth', names)
