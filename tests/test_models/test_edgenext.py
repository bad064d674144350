import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import assert_maps_close, image, randomize

from edgenext_mm.errors import InputError
from edgenext_mm.models import ARCHS, EdgeNeXt
from edgenext_mm.models.blocks import ConvEncoder, Downsample

DATA = Path(__file__).parents[1] / 'data'
TINY = dict(depths=(1, 1, 2, 1), dims=(8, 16, 20, 24), num_heads=4)


REFERENCE_ARCHS = [arch for arch in ARCHS if arch != 'small_rw']


@pytest.mark.parametrize('arch', REFERENCE_ARCHS)
def test_reproduces_reference(arch):
    name = f'edgenext_{arch}'
    model = EdgeNeXt(arch)
    reference = json.loads((DATA / 'keys.json').read_text())[name]
    backbone = {k: v for k, v in reference.items() if not k.startswith(('norm.', 'head.'))}
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == backbone

    with np.load(DATA / 'edgenext_golden.npz') as golden, torch.no_grad():
        expected = [torch.from_numpy(golden[f'{name}/stage{i}']) for i in range(4)]
        maps = randomize(model)(torch.from_numpy(image()))
    assert_maps_close(maps, expected)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)


@pytest.mark.parametrize('output_stride', [8, 16, 32])
@pytest.mark.parametrize('size', [(512, 512), (321, 481), (65, 97), (32, 32)])
def test_output_strides(output_stride, size):
    model = EdgeNeXt(TINY, output_stride=output_stride, out_norm=True).eval()
    with torch.no_grad():
        maps = model(torch.zeros(1, 3, *size))
    for x, dim, stride in zip(maps, TINY['dims'], (4, 8, 16, 32), strict=True):
        stride = min(stride, output_stride)
        assert x.shape[1:] == (dim, size[0] // stride, size[1] // stride)
    plain = EdgeNeXt(TINY, out_norm=True).state_dict()
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in plain.items()
    }


@pytest.mark.parametrize('dilation', [1, 2])
def test_downsampling_at_stride_1_is_a_trous(dilation):
    """Against its definition, with nothing beyond the right and bottom borders."""
    torch.manual_seed(0)
    conv = Downsample(3, 5, stride=1, dilation=dilation)
    x = torch.randn(2, 3, 7, 9)
    padded = torch.zeros(2, 3, 7 + dilation, 9 + dilation)
    padded[..., :7, :9] = x
    expected = conv.bias[:, None, None] + sum(
        torch.einsum('oi,nihw->nohw', conv.weight[:, :, i, j], padded[..., y : y + 7, z : z + 9])
        for i, y in enumerate((0, dilation))
        for j, z in enumerate((0, dilation))
    )
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilation_keeps_the_meaning_of_weights(output_stride):
    """Without the attention, which sees all tokens, the strided network's map is a subsample."""
    arch = dict(TINY, depths=(1, 1, 3, 3))
    networks = [randomize(EdgeNeXt(arch, output_stride=s)) for s in (32, output_stride)]
    maps = []
    for network in networks:
        x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16, 24, 16))).float()
        for downsample, stage in zip(
            network.downsample_layers[2:], network.stages[2:], strict=True
        ):
            x = downsample(x)
            for block in stage:
                x = block(x) if isinstance(block, ConvEncoder) else x
        maps.append(x.detach())
    step = 32 // output_stride
    assert_maps_close([maps[1][..., ::step, ::step]], [maps[0]])


def test_trains_with_checkpointing_and_frozen_stages():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64)
    grads, passes = [], []
    for with_cp in (False, True):
        model = randomize(EdgeNeXt(TINY, frozen_stages=2, with_cp=with_cp)).train()
        count = []
        model.stages[3][0].register_forward_pre_hook(lambda *_, count=count: count.append(1))
        sum(out.square().mean() for out in model(x)).backward()
        passes.append(len(count))
        grads.append({name: p.grad for name, p in model.named_parameters()})
    assert passes == [1, 2]
    frozen = {name for name, grad in grads[0].items() if grad is None}
    stems = ('downsample_layers.0', 'downsample_layers.1', 'stages.0', 'stages.1')
    assert frozen == {name for name in grads[0] if name.startswith(stems)}
    assert not any(model.stages[i].training for i in (0, 1)) and model.stages[2].training
    for name in grads[0].keys() - frozen:
        torch.testing.assert_close(grads[1][name], grads[0][name])


def test_frozen_stem_and_norm_eval():
    arch = dict(TINY, bn_hs=True)
    x = torch.randn(2, 3, 64, 64)

    def changed_statistics(**kwargs):
        model = EdgeNeXt(arch, **kwargs).train()
        before = {k: v.clone() for k, v in model.named_buffers() if k.endswith('running_mean')}
        model(x)
        after = dict(model.named_buffers())
        return {name for name, value in before.items() if not torch.equal(value, after[name])}

    every = changed_statistics()
    stem = {'downsample_layers.0.1.running_mean'}
    assert len(every) == 12 and stem < every
    assert changed_statistics(frozen_stages=0) == every - stem
    assert changed_statistics(norm_eval=True) == set()


def test_initialisation_is_the_papers():
    model = EdgeNeXt('xx_small', drop_path_rate=0.1)
    model.init_weights()
    for name, p in model.named_parameters():
        leaf = name.rsplit('.', 1)[-1]
        if leaf == 'bias':
            assert not p.any()
        elif leaf.startswith('gamma'):
            assert (p == 1e-6).all()
        elif p.ndim == 1 or leaf == 'temperature':
            assert (p == 1).all()
        elif p.numel() > 1000:
            assert 0.018 < p.std() < 0.022 and abs(p.mean()) < 0.003
    rates = [getattr(block.drop_path, 'drop_prob', 0) for s in model.stages for block in s]
    assert rates == pytest.approx(np.linspace(0, 0.1, 12))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='tiny'), "unknown EdgeNeXt arch 'tiny'.*x_small_bn_hs"),
        (dict(arch=dict(depths=(1, 1, 1, 1))), 'depths.*dims.*num_heads'),
        (dict(arch=dict(TINY, dims=(8, 16, 22, 24))), 'multiples of num_heads'),
        (dict(position_stages=(0, 1)), r'of \[1, 2, 3\]'),
        (dict(out_indices=(1, 4)), r'out_indices.*\(1, 4\)'),
        (dict(out_indices=(3, 2)), 'ascending'),
        (dict(output_stride=4), 'output_stride is 8, 16 or 32, not 4'),
        (dict(frozen_stages=5), 'frozen_stages'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        EdgeNeXt(**kwargs)


def test_small_image():
    small = torch.zeros(1, 3, 31, 64)
    for images in (small, torch.nn.Parameter(small)):
        with pytest.raises(InputError, match='at least 32x32 pixels and got 31x64'):
            EdgeNeXt(TINY)(images)


BUILD = """
import importlib
import os
import mmengine.runner  # what all libraries import, once for all children
import torchvision
from mmengine.utils import import_modules_from_strings

for library, plain in dict(mmdet=True, mmseg=True, mmpretrain=False).items():
    child = os.fork()
    if not child:
        MODELS = importlib.import_module(library + '.registry').MODELS
        model = MODELS.build(dict(type='edgenext_mm.EdgeNeXt'))
        import_modules_from_strings(['edgenext_mm.models'])
        assert (MODELS.get('EdgeNeXt') is type(model)) == plain
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, library
"""


@pytest.mark.slow
def test_builds_in_every_library():
    """With its scope after no import at all, and by its plain name once it is imported."""
    subprocess.run([sys.executable, '-c', BUILD], check=True)
