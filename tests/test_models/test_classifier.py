"""The classifiers of the configs against the reference, timm and mmpretrain."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn as nn
from conftest import CLS_CONFIGS
from golden import image, randomize, tensor_for
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint
from mmpretrain.models import EdgeNeXt as MMPretrainEdgeNeXt
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample

from edgenext_mm.checkpoint.families import FAMILIES, rename
from edgenext_mm.deploy.convert import convert
from edgenext_mm.errors import InputError
from edgenext_mm.models import ARCHS, EdgeNeXtHead

DATA = Path(__file__).parents[1] / 'data'
REFERENCE_ARCHS = [arch for arch in ARCHS if arch != 'small_rw']
CHANNELS = {arch: ARCHS[arch]['dims'][-1] for arch in ARCHS}


def build(config, checkpoint=None, teacher=None, **settings):
    cfg = Config.fromfile(CLS_CONFIGS / f'edgenext_{config}_imagenet.py')
    cfg.merge_from_dict({'model': settings})
    cfg = cfg.model
    if teacher:
        cfg.teacher = teacher
    if checkpoint:
        cfg.init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg)
    model.init_weights()
    return model.eval()


def reference_state(arch):
    keys = json.loads((DATA / 'keys.json').read_text())[f'edgenext_{arch}']
    return {k: torch.from_numpy(np.asarray(tensor_for(k, shape))) for k, shape in keys.items()}


@pytest.mark.slow
@pytest.mark.parametrize('arch', REFERENCE_ARCHS)
def test_reproduces_reference(arch, tmp_path):
    path = tmp_path / 'reference.pth'
    state = reference_state(arch)
    torch.save({'model_ema': state, 'epoch': 299}, path)
    with np.load(DATA / 'edgenext_golden.npz') as golden, torch.no_grad():
        expected = torch.from_numpy(golden[f'edgenext_{arch}/logits'])
        logits = build(arch, path)(torch.from_numpy(image()))
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()

    convert(str(path), str(tmp_path / 'ours.pth'), 'edgenext_mm')
    convert(str(tmp_path / 'ours.pth'), str(tmp_path / 'back.pth'), 'reference')
    back = torch.load(tmp_path / 'back.pth')['model']
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], value) for key, value in state.items())


class TimmPeer:
    archs = ('xx_small', 'x_small', 'small', 'base', 'small_rw')

    @staticmethod
    def build(arch):
        return timm.create_model(f'edgenext_{arch}')

    @staticmethod
    def state(content):
        return content


class MMPretrainPeer:
    archs = ('xx_small', 'x_small', 'small', 'base')

    @staticmethod
    def build(arch):
        model = ImageClassifier(
            backbone=MMPretrainEdgeNeXt(arch.replace('_', '')),
            head=dict(type='LinearClsHead', in_channels=CHANNELS[arch], num_classes=1000),
        )
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                # mmpretrain leaves 1e-5 in the SDTA encoders and before the head, where the
                # reference, whose weights it publishes, has 1e-6.
                module.eps = 1e-6
        return model

    @staticmethod
    def state(content):
        return content['state_dict']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'peer', 'arch'),
    [
        (name, peer, arch)
        for name, peer in (('timm', TimmPeer), ('mmpretrain', MMPretrainPeer))
        for arch in peer.archs
    ],
)
def test_equals_peer(name, peer, arch, tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        theirs = randomize(peer.build(arch))
    for key, value in theirs.state_dict().items():
        if 'gamma' in key:
            value.fill_(0.5)
    path = tmp_path / 'theirs.pth'
    torch.save(theirs.state_dict(), path)
    x = torch.randn(2, 3, 96, 160)
    ours = build(
        'small' if arch == 'small_rw' else arch,
        path,
        backbone=dict(arch=arch),
        head=dict(in_channels=CHANNELS[arch]),
    )
    with torch.no_grad():
        expected, logits = theirs(x), ours(x)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()

    torch.save(ours.state_dict(), tmp_path / 'ours.pth')
    assert convert(str(tmp_path / 'ours.pth'), str(tmp_path / 'back.pth'), name) == (arch, True, [])
    back = peer.state(torch.load(tmp_path / 'back.pth'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        again = peer.build(arch)
    again.load_state_dict(back, strict=True)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in theirs.state_dict().items())


def test_all_or_nothing(tmp_path):
    path = tmp_path / 'reference.pth'
    state = reference_state('xx_small')
    torch.save({'state_dict': state}, path)

    def fails(config, **settings):
        with pytest.raises(InputError, match='does not fit this model') as error:
            build(config, path, **settings)
        return str(error.value)

    assert 'The checkpoint is xx_small, the model is x_small' in fails('x_small')
    text = fails('xx_small', head=dict(num_classes=6))
    assert 'head.fc.weight ((1000, 168) in the checkpoint, (6, 168) in the model)' in text
    assert 'Its backbone fits. To train from that alone, set model.backbone.init_cfg=' in text
    torch.save(state | {'other.weight': torch.ones(2)}, path)
    assert '1 unexpected (backbone.other.weight)' in fails('xx_small')
    torch.save({'state_dict': state}, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    model = build('xx_small', head=dict(num_classes=6), backbone=dict(init_cfg=init_cfg))
    assert torch.equal(model.backbone.stages[0][0].gamma, state['stages.0.0.gamma'])


@pytest.mark.parametrize('family', FAMILIES)
def test_state_dicts(family, tmp_path):
    """Other names are understood; what is missing or unexpected is as PyTorch says."""
    source, model = randomize(build('xx_small')), build('xx_small')
    own = source.state_dict()
    state = {rename(key, family): value for key, value in own.items()}
    assert str(model.load_state_dict(state)) == '<All keys matched successfully>'
    assert all(torch.equal(model.state_dict()[key], value) for key, value in own.items())

    torch.save({'epoch': 3, 'model_ema': state}, tmp_path / 'checkpoint.pth')
    model = build('xx_small')
    load_checkpoint(model, str(tmp_path / 'checkpoint.pth'), strict=True)  # mmengine's
    assert all(torch.equal(model.state_dict()[key], value) for key, value in own.items())

    model = nn.ModuleDict({'module': build('xx_small')})
    part = {f'module.{k}': v for k, v in state.items() if k != rename('head.fc.bias', family)}
    result = model.load_state_dict(part | {'module.backbone.a.b': torch.ones(1)}, strict=False)
    assert result.missing_keys == ['module.head.fc.bias']
    assert result.unexpected_keys == ['module.backbone.a.b']
    assert torch.equal(model['module'].head.fc.weight, own['head.fc.weight'])
    with pytest.raises(
        RuntimeError, match=r'Missing key\(s\) in state_dict: "module.head.fc.bias"'
    ):
        model.load_state_dict(part)
    part[f'module.{rename("head.fc.bias", family)}'] = torch.ones(6)
    with pytest.raises(RuntimeError, match=r'size mismatch for module\.head\.fc\.bias'):
        model.load_state_dict(part, strict=False)


@pytest.mark.parametrize('bn_hs', [True, False])
def test_head_suits_backbone(bn_hs):
    arch = 'xx_small' if bn_hs else 'xx_small_bn_hs'
    with pytest.raises(InputError, match=f'set model.head.bn_hs={not bn_hs}, or choose another'):
        build('xx_small', backbone=dict(arch=arch), head=dict(bn_hs=bn_hs))
    build('xx_small', backbone=dict(arch=arch), head=dict(bn_hs=not bn_hs))


def test_learns_from_teacher():
    """The divergence by its definition; the teacher has other inputs and is nowhere saved."""
    teacher = dict(
        type='ImageClassifier',
        backbone=dict(type='MobileNetV2'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', in_channels=1280, num_classes=1000),
        data_preprocessor=dict(mean=[127.5] * 3, std=[100.0] * 3, to_rgb=False),
        init_cfg=dict(type='Kaiming', layer='Conv2d'),
    )
    student = build(
        'small_usi', teacher=teacher, backbone=dict(arch='xx_small'), head=dict(in_channels=168)
    )
    pixels = torch.rand(2, 3, 64, 64) * 255
    samples = [DataSample().set_gt_label(3), DataSample().set_gt_label(7)]
    data = student.data_preprocessor(dict(inputs=pixels, data_samples=samples), training=True)
    inputs, scores = (
        data['inputs'],
        torch.stack([sample.gt_score for sample in data['data_samples']]),
    )
    losses = student.loss(**data)
    with torch.no_grad():
        mixed = inputs * student.data_preprocessor.std + student.data_preprocessor.mean
        p = student.teacher((mixed.flip(1) - 127.5) / 100).softmax(1)
        log_q = student(inputs).log_softmax(1)
        divergence = (p * (p.log() - log_q)).sum(1).mean()
    torch.testing.assert_close(losses['loss_distill'], 5 * divergence)
    torch.testing.assert_close(losses['loss'], -(scores * log_q).sum(1).mean())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in student.teacher.parameters())
    assert not any('teacher' in key for key in student.state_dict())

    for bad, reason in (
        (dict(teacher, init_cfg=None), 'the model has no init_cfg'),
        ('no-such-model', 'Failed to find model'),
        ('no_such_config.py', 'does not exist|No such file'),
    ):
        student.teacher_cfg = bad
        del student.teacher
        with pytest.raises(InputError, match=rf'model\.teacher .* cannot be had: .*({reason})'):
            student.loss(**data)
        student.teacher = None
    student.teacher_cfg = dict(teacher, head=None)
    del student.teacher
    with pytest.raises(RuntimeError, match=r"model\.teacher .*no attribute 'num_classes'"):
        student.loss(**data)
    student.teacher = None
    student.teacher_cfg = dict(teacher, head=dict(teacher['head'], num_classes=10))
    del student.teacher
    with pytest.raises(InputError, match=r'has 10 classes and model\.head has 1000'):
        student.loss(**data)


def test_head_refuses_to_fold_changed_layers():
    head = EdgeNeXtHead(num_classes=5, in_channels=8).eval()
    head.fc.forward = torch.nn.functional.relu
    with pytest.raises(InputError, match=r'^head\.fc has a hook, or is pruned, reparametrized or'):
        head.switch_to_deploy()
    assert not head.deployed
