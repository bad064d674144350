"""A DeepLabv3 and an SSDLite as CVNets saves them, built by what is known of its names."""

import json
import zipfile
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn as nn
from conftest import CONFIGS, SEG_CONFIGS
from golden import randomize
from mmdet.registry import MODELS as DETECTORS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from edgenext_mm.checkpoint import load_pretrained
from edgenext_mm.errors import InputError
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


def encoder_of_cvnets(model, order=None, scrambled=True):
    """Return the backbone's state dict, in an order of the reference's.

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
    return weights


def of_cvnets(model, order=None, scrambled=True):
    weights, state = encoder_of_cvnets(model, order, scrambled), model.state_dict()
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
        (model.state_dict(), 'no DeepLabv3 or SSDLite of CVNets'),
    ):
        torch.save(weights, tmp_path / 'wrong.pt')
        with pytest.raises(SystemExit, match=message):
            run_tool('convert_checkpoint.py', tmp_path / 'wrong.pt', 'out', '--from', 'cvnets')
        assert not (tmp_path / 'out').exists()


def block(*channels, kernel=1, norm=True, act=True, **kwargs):
    """A convolution of CVNets."""
    layers = OrderedDict(conv=nn.Conv2d(*channels, kernel, padding=kernel // 2, **kwargs))
    if norm:
        layers['norm'] = nn.BatchNorm2d(channels[1])
    if act:
        layers['act'] = nn.ReLU()
    return nn.Sequential(OrderedDict(block=nn.Sequential(layers)))


def separable(inputs, outputs, stride=1, **last):
    """Its depthwise separable convolution, whose first half has no activation."""
    depthwise = dict(kernel=3, act=False, groups=inputs, bias=False, stride=stride)
    return nn.Sequential(
        OrderedDict(
            dw_conv=block(inputs, inputs, **depthwise), pw_conv=block(inputs, outputs, **last)
        )
    )


class CVNetsSSD(nn.Module):
    """What CVNets puts on its encoder by config/detection/ssd_coco/mobilevit.yaml."""

    ratios = (*[(2, 3)] * 5, (2,))
    sizes = torch.linspace(0.1, 1.05, 7, dtype=torch.float64)

    def __init__(self, dims, num_classes):
        super().__init__()
        self.extra_layers = nn.ModuleDict(
            {
                'os_64': separable(dims[1], 256, 2, bias=False),
                'os_128': separable(256, 128, 2, bias=False),
                'os_256': separable(128, 128, 2, bias=False),
                'os_-1': nn.Sequential(
                    nn.AdaptiveAvgPool2d(1), block(128, 64, norm=False, bias=False)
                ),
            }
        )
        self.values = 4 + 1 + num_classes
        plain = dict(norm=False, act=False, bias=True)
        self.ssd_heads = nn.ModuleList(
            nn.ModuleDict({'loc_cls_layer': separable(channels, 6 * self.values, **plain)})
            for channels in (512, 256, 256, 128, 128)
        )
        self.ssd_heads.append(nn.ModuleDict({'loc_cls_layer': block(64, 4 * self.values, **plain)}))
        for head, *channels in zip(self.ssd_heads, dims, (512, 256), strict=False):
            head['proj_layer'] = block(*channels, bias=False)

    def forward(self, maps):
        """Return scores, the background's first, and corners of boxes, as shares of the image."""
        maps = [*maps]
        for layer in self.extra_layers.values():
            maps.append(layer(maps[-1]))
        anchors, values = [], []
        for x, head, ratios, sizes in zip(
            maps, self.ssd_heads, self.ratios, pairwise(self.sizes.tolist()), strict=True
        ):
            if 'proj_layer' in head:
                x = head['proj_layer'](x)
            x = head['loc_cls_layer'](x)
            values.append(x.permute(0, 2, 3, 1).reshape(-1, self.values))
            rows, columns = x.shape[2:]
            small, large = sizes[0], (sizes[0] * sizes[1]) ** 0.5
            shapes = [(small, small), (large, large)]
            for root in (ratio**0.5 for ratio in ratios):
                shapes += [(small * root, small / root), (small / root, small * root)]
            anchors += [
                ((column + 0.5) / columns, (row + 0.5) / rows, min(width, 1), min(height, 1))
                for row in range(rows)
                for column in range(columns)
                for width, height in shapes
            ]
        values, anchors = torch.cat(values), torch.tensor(anchors)
        centers = anchors[:, :2] + 0.1 * values[:, :2] * anchors[:, 2:]
        sides = anchors[:, 2:] * torch.exp(0.2 * values[:, 2:4])
        boxes = torch.cat([centers - sides / 2, centers + sides / 2], dim=1)
        return values[:, 4:].softmax(1), boxes


@pytest.fixture(scope='module')
def detector():
    """Return what builds our detector, a backbone, and what CVNets has on it for three classes."""

    def build():
        cfg = Config.fromfile(CONFIGS / 'ssdlite_edgenext_small_coco_cvnets.py').model
        cfg.backbone.arch, cfg.neck.in_channels = 'xx_small', (88, 168)
        cfg.bbox_head.num_classes = 3
        with DefaultScope.overwrite_default_scope('mmdet'):
            return DETECTORS.build(cfg).eval()

    theirs = randomize(CVNetsSSD((88, 168), num_classes=3))
    return build, randomize(build().backbone), theirs


def detector_of_cvnets(backbone, theirs):
    return encoder_of_cvnets(nn.ModuleDict({'backbone': backbone})) | theirs.state_dict()


@torch.no_grad()
def test_detector_predicts_the_same(run_tool, tmp_path, capsys, detector):
    build, backbone, theirs = detector
    torch.save(detector_of_cvnets(backbone, theirs), tmp_path / 'checkpoint_ema.pt')
    out = tmp_path / 'ours.pth'
    run_tool('convert_checkpoint.py', tmp_path / 'checkpoint_ema.pt', out, '--from', 'cvnets')
    assert 'wrote SSDLite of 3 classes on xx_small, for the settings of' in capsys.readouterr().out
    ours = build()
    ours.load_state_dict(torch.load(out)['state_dict'])
    image = torch.randint(256, (3, 96, 96), dtype=torch.uint8)
    inputs = ours.data_preprocessor(dict(inputs=[image]))['inputs']
    scores, boxes = theirs(backbone(image.flip(0)[None] / 255))
    head = ours.bbox_head
    found, deltas = (
        torch.cat([x.permute(0, 2, 3, 1).reshape(-1, size) for x in maps])
        for size, maps in zip((4, 4), head(ours.extract_feat(inputs)), strict=True)
    )
    torch.testing.assert_close(found.softmax(1), scores[:, [1, 2, 3, 0]])
    priors = head.prior_generator.grid_priors([(n, n) for n in (6, 3, 2, 1, 1, 1)], device='cpu')
    decoded = head.bbox_coder.decode(torch.cat(priors), deltas, max_shape=(96, 96))
    torch.testing.assert_close(decoded, 96 * boxes.clamp(0, 1), rtol=0, atol=1e-3)
    assert scores.std() > 0.01 and boxes.std() > 0.1
    start = EdgeNeXt('xx_small', out_indices=(2, 3)).eval()
    load_pretrained(start, str(tmp_path / 'checkpoint_ema.pt'))
    assert torch.equal(start(inputs)[1], ours.backbone(inputs)[1])
    with pytest.raises(InputError, match='is of CVNets: give what'):
        load_pretrained(ours, str(tmp_path / 'checkpoint_ema.pt'))


def test_other_detectors_are_refused(run_tool, tmp_path, detector):
    whole = detector_of_cvnets(*detector[1:])
    last = 'ssd_heads.5.loc_cls_layer.block.conv.'
    for change, message in (
        (
            {f'{last}{x}': whole[f'{last}{x}'][:16] for x in ('weight', 'bias')},
            r'\(16,\)  .*\(32,\)',
        ),
        ({f'{last}bias': None}, r'weight \(32, 64, 1, 1\).*\n12  - .*bias \(32,\)'),
        ({'extra_layers.os_64.pw_conv.block.conv.weight': None}, '1 missing .neck.extra_layers.0'),
        ({'fpn.proj_layers.os_16.block.conv.weight': torch.ones(1)}, '1 unexpected .fpn'),
    ):
        weights = {key: x for key, x in (whole | change).items() if x is not None}
        torch.save(weights, tmp_path / 'wrong.pt')
        with pytest.raises(SystemExit, match=message):
            run_tool('convert_checkpoint.py', tmp_path / 'wrong.pt', 'out', '--from', 'cvnets')
