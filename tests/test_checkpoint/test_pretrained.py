"""Checkpoints of all families, in all the wrappings that are about."""

import pytest
import timm
import torch
from golden import assert_maps_close, randomize
from mmengine.model import PretrainedInit
from mmengine.runner import load_checkpoint
from mmpretrain.models import EdgeNeXt as MMPretrainEdgeNeXt
from safetensors.torch import save_file

from edgenext_mm.checkpoint import load_pretrained, pretrained
from edgenext_mm.checkpoint.families import FAMILIES, rename
from edgenext_mm.errors import InputError
from edgenext_mm.models import EdgeNeXt

TINY = dict(depths=(1, 1, 2, 1), dims=(8, 16, 20, 24), num_heads=4)
HEAD = {'norm.weight': torch.ones(24), 'head.weight': torch.ones(1000, 24)}


@pytest.fixture
def load(tmp_path):
    """Save what a checkpoint holds and initialise a backbone from it."""

    def run(content, arch=TINY, **kwargs):
        path = tmp_path / 'checkpoint.pth'
        torch.save(content, path)
        model = EdgeNeXt(arch, init_cfg=dict(type='Pretrained', checkpoint=str(path)), **kwargs)
        model.init_weights()
        return model.eval()

    return run


def below(prefix, state):
    return {f'{prefix}{key}': value for key, value in state.items()}


def assert_equal(model, expected):
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) for key, value in expected.items())


@pytest.mark.parametrize('arch', ['xx_small', 'x_small', 'small', 'base'])
def test_timm(load, arch):
    peer = randomize(timm.create_model(f'edgenext_{arch}'))
    x = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        maps = load(peer.state_dict(), arch)(x)
        x = peer.stem(x)
        expected = [x := stage(x) for stage in peer.stages]
    assert_maps_close(maps, expected)


@pytest.mark.parametrize('arch', ['xx_small', 'x_small', 'small', 'base'])
def test_mmpretrain(load, arch):
    peer = randomize(MMPretrainEdgeNeXt(arch.replace('_', '')))
    state = below('backbone.', peer.state_dict())
    head = {'head.fc.weight': torch.ones(1000, peer.channels[-1])}
    x = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        maps = load({'state_dict': state | head, 'meta': {}}, arch)(x)
        expected = []
        for downsample, stage in zip(peer.downsample_layers, peer.stages, strict=True):
            expected.append(x := stage(downsample(x)))
    assert_maps_close(maps, expected)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state, other: state,
        lambda state, other: {'model': state, 'optimizer': {}, 'epoch': 3},
        lambda state, other: {'model': other, 'model_ema': state},
        lambda state, other: {'model': state, 'model_ema': None},
        lambda state, other: {'state_dict': other, 'state_dict_ema': state},
        lambda state, other: {'state_dict': state, 'ema_state_dict': other},
        lambda state, other: {'model': state, 'model_ema': {}, 3: 'three'},
        lambda state, other: {'weights': state, 'optimizer': {'state': {}}, 'epoch': 3},
        lambda state, other: below('module.', state),
        lambda state, other: {'model': below('module.backbone.', state)},
        lambda state, other: below('backbone.', other) | below('ema_backbone.', state),
        lambda state, other: below('backbone.', state) | {'ema_steps': torch.ones(1)},
        lambda state, other: {
            'state_dict': {'decode_head.conv_seg.weight': torch.ones(2)} | below('backbone.', state)
        },
    ],
)
def test_wrappings(load, wrap):
    """Averaged weights are preferred, and what is not the backbone's is left out."""
    state, other = (randomize(EdgeNeXt(TINY)).state_dict() for _ in range(2))
    other = {key: value + 1 for key, value in other.items()}
    assert_equal(load(wrap(state | HEAD, other | HEAD)), state)


def test_says_when_weights_are_averaged(load, monkeypatch):
    said = []
    monkeypatch.setattr(pretrained, 'print_log', lambda text, logger: said.append(text))
    state = randomize(EdgeNeXt(TINY)).state_dict()
    load({'state_dict': state})
    assert not said
    load({'model': state, 'model_ema': state})
    load(below('backbone.', state) | below('ema_backbone.', state))
    assert ["'model_ema'" in said[0], "'ema_'" in said[1]] == [True, True]


def test_output_norms(load):
    plain = randomize(EdgeNeXt(TINY)).state_dict()
    normed = randomize(EdgeNeXt(TINY, out_norm=True)).state_dict()
    model = load(plain, out_norm=True)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in plain.items())
    assert (model.out_norms['3'].weight == 1).all()
    assert_equal(load(normed, out_norm=True), normed)
    assert_equal(load(normed), {k: v for k, v in normed.items() if not k.startswith('out_norms')})
    last = load(normed, out_norm=True, out_indices=(2, 3)).state_dict()
    assert all(torch.equal(normed[key], value) for key, value in last.items())
    last = {key: value for key, value in normed.items() if not key.startswith('out_norms.0')}
    with pytest.raises(
        InputError, match=r'99 of 101 tensors fit; 2 missing \(backbone\.out_norms\.0'
    ):
        load(last, out_norm=True)


def test_position_encodings_of_more_stages(load):
    """They change nothing at first, and learn."""
    plain = randomize(EdgeNeXt(TINY)).eval()
    model = load(plain.state_dict(), position_stages=(1, 2, 3)).eval()
    x = torch.randn(1, 3, 64, 96)
    for map_, expected in zip(model(x), plain(x), strict=True):
        assert torch.equal(map_, expected)
    model(x)[-1].square().sum().backward()
    for stage in (2, 3):
        assert model.stages[stage][-1].pos_embd.token_projection.weight.grad.any()
    more = randomize(model).state_dict()
    assert_equal(load(more, position_stages=(1, 2, 3)), more)
    with pytest.raises(InputError, match=r'4 unexpected \(backbone\.stages\.2\.1\.pos_embd'):
        load(more)


def test_all_or_nothing(tmp_path):
    state = randomize(EdgeNeXt(TINY)).state_dict()
    path = tmp_path / 'checkpoint.pth'

    def message(content, arch=TINY):
        torch.save(content, path)
        model = EdgeNeXt(arch, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with pytest.raises(InputError, match='does not fit this model') as error:
            model.init_weights()
        assert_equal(model, before)
        return str(error.value)

    less = {key: value for key, value in state.items() if key != 'stages.0.0.gamma'}
    assert '92 of 93 tensors fit; 1 missing (backbone.stages.0.0.gamma)' in message(less)
    more = message(state | {'stages.0.0.scale': torch.ones(1)})
    assert '93 of 93 tensors fit; 1 unexpected (backbone.stages.0.0.scale)' in more
    shape = message(state | {'stages.0.0.gamma': torch.ones(9)})
    assert 'stages.0.0.gamma ((9,) in the checkpoint, (8,) in the model)' in shape
    x_small = timm.create_model('edgenext_x_small').state_dict()
    del x_small['stem.0.bias']
    text = message(x_small, 'small')
    assert '1 missing (backbone.downsample_layers.0.0.bias)' in text
    assert 'in the checkpoint, (48, 3, 4, 4) in the model)' in text
    assert "The checkpoint is x_small, the model is small: set arch='x_small'" in text


@pytest.mark.slow
def test_unused_stages(tmp_path, monkeypatch):
    """Whole checkpoints of all families go into the first stages, and the rest is counted."""
    said = []
    monkeypatch.setattr(pretrained, 'print_log', lambda text, *args: said.append(text))
    whole = randomize(EdgeNeXt('xx_small')).state_dict()
    path = str(tmp_path / 'checkpoint.pth')
    for family in FAMILIES:
        classifier = below('backbone.', whole) | {'head.fc.bias': torch.ones(1000)}
        state = {rename(key, family): value for key, value in classifier.items()}
        torch.save({'state_dict': state}, path)
        model = EdgeNeXt('xx_small', out_indices=(0, 1))
        load_pretrained(model, path)
        own = model.state_dict()
        assert_equal(model, {key: whole[key] for key in own})
        assert {key[:8] for key in own} == {'stages.0', 'stages.1', 'downsamp'}
        left = len(state) - len(own)
        assert f'{left} tensors are left out' in said.pop() and not said
    missing = {key: value for key, value in state.items() if not key.endswith('.1.1.gamma')}
    torch.save(missing, path)
    with pytest.raises(InputError, match=r'1 missing \(backbone\.stages\.1\.1\.gamma\)$'):
        load_pretrained(model, path)
    for arch, other in (('small', 'small_rw'), ('small_bn_hs', 'small'), ('x_small', 'xx_small')):
        torch.save(EdgeNeXt(other).state_dict(), path)
        with pytest.raises(InputError, match=f'checkpoint is {other}, the model is {arch}: set'):
            load_pretrained(EdgeNeXt(arch, out_indices=(1,)), path)
    assert not said


def test_mmengine_loads_short_names(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    source = randomize(EdgeNeXt('xx_small'))
    content = {'model': {'other': torch.ones(1)}, 'model_ema': source.state_dict(), 'epoch': 3}
    torch.save(content, tmp_path / 'edgenext_xx_small.pth')
    model = EdgeNeXt('xx_small')
    load_checkpoint(model, 'edgenext://xx_small')
    assert_equal(model, source.state_dict())
    model = EdgeNeXt('xx_small', init_cfg=dict(type='Pretrained', checkpoint='edgenext://xx_small'))
    model.init_weights()
    assert_equal(model, source.state_dict())


def test_safetensors(tmp_path):
    state = randomize(EdgeNeXt(TINY)).state_dict()
    save_file(state, tmp_path / 'model.safetensors')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'model.safetensors'))
    model = EdgeNeXt(TINY, init_cfg=init_cfg)
    model.init_weights()
    assert_equal(model, state)


def test_forms_of_init_cfg(tmp_path):
    state = randomize(EdgeNeXt(TINY)).state_dict()
    path = str(tmp_path / 'checkpoint.pth')
    other = {key: value + 1 for key, value in state.items()}
    torch.save(below('backbone.', other) | below('teacher.', state), path)
    teacher = dict(type='Pretrained', checkpoint=path, prefix='teacher.')
    for init_cfg in (teacher, [teacher], dict(teacher, type=PretrainedInit)):
        model = EdgeNeXt(TINY, init_cfg=init_cfg)
        model.init_weights()
        assert_equal(model, state)
    for init_cfg in (
        [teacher, dict(type='Kaiming', layer='Conv2d')],
        dict(type='Pretrained'),
        dict(teacher, revise_keys=[]),
    ):
        with pytest.raises(InputError, match='has a checkpoint and perhaps a prefix'):
            EdgeNeXt(TINY, init_cfg=init_cfg).init_weights()
