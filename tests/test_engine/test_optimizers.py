import copy
import re

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS, DefaultScope
from small_networks import TASKS, config_of, network

from edgenext_mm.engine import AdamW
from edgenext_mm.errors import InputError

TORCH = tuple(map(int, torch.__version__.split('.')[:2]))
HAS_FUSED_FORM = TORCH >= (2, 4)


def new_model():
    torch.manual_seed(0)
    return torch.nn.Linear(5, 3)


def groups(model):
    return [
        dict(params=[model.weight], weight_decay=0.1),
        dict(params=model.bias, weight_decay=0.0, lr=0.05),
    ]


def train(model, optimizer, steps=10):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 5)).square().sum().backward()
        optimizer.step()
    return [group['fused'] for group in optimizer.param_groups]


@pytest.mark.parametrize('options', [{}, dict(foreach=True), dict(fused=False)])
def test_updates_as_pytorchs(options):
    model, expected = new_model(), new_model()
    cfg = dict(type='edgenext_mm.AdamW', params=groups(model), lr=0.01, **options)
    fused = train(model, OPTIMIZERS.build(cfg))
    train(expected, torch.optim.AdamW(groups(expected), lr=0.01))
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert [bool(x) for x in fused] == [HAS_FUSED_FORM and not options] * 2


FORMS = {
    'generator': lambda model: model.parameters(),
    'list': lambda model: [*model.parameters()],
    'group of a generator': lambda model: [dict(params=model.parameters())],
    'generator of groups': lambda model: (dict(params=p) for p in model.parameters()),
    'names': lambda model: model.named_parameters(),
    'group of names': lambda model: [dict(params=model.named_parameters())],
}


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('options', [{}, dict(lr=torch.tensor(0.01)), dict(capturable=True)])
def test_takes_parameters_as_pytorchs(form, options):
    if 'names' in form and TORCH < (2, 6):
        pytest.skip('PyTorch before 2.6 takes no names')
    if options and not HAS_FUSED_FORM:
        pytest.skip('a learning rate in a tensor and capturable are for fused forms on a CPU')
    model, expected = new_model(), new_model()
    optimizer = AdamW(FORMS[form](model), **{'lr': 0.01, **options})
    fused = train(model, optimizer)
    train(expected, torch.optim.AdamW(expected.parameters(), 0.01))
    for p, q, start in zip(*(m.parameters() for m in (model, expected, new_model())), strict=True):
        torch.testing.assert_close(p, q)
        assert not torch.equal(p, start)
    assert all(bool(x) == HAS_FUSED_FORM for x in fused)
    names = optimizer.param_groups[0].get('param_names')
    assert names == (['weight', 'bias'] if 'names' in form else None)
    copied, copied_optimizer = copy.deepcopy((model, optimizer))
    train(copied, copied_optimizer)
    train(model, optimizer)
    assert torch.equal(copied.weight, model.weight)


def test_fuses_group_by_group():
    """The learning rate is the second argument, and later groups are looked at as well."""
    model = new_model()
    optimizer = AdamW([model.weight], 0.01)
    assert optimizer.param_groups[0]['lr'] == 0.01
    optimizer.add_param_group(dict(params=(p for p in [model.bias])))
    for parameter in (torch.ones(1, device='meta'), torch.ones(1, dtype=torch.complex64)):
        optimizer.add_param_group(dict(params=torch.nn.Parameter(parameter)))
    optimizer.add_param_group(dict(params=new_model().bias, fused=False))
    bias = model.bias.clone()
    fused = train(model, optimizer)
    assert [bool(x) for x in fused] == [HAS_FUSED_FORM] * 2 + [False] * 3
    assert not torch.equal(model.bias, bias)
    assert not AdamW(new_model().parameters(), differentiable=True).param_groups[0]['fused']
    with pytest.raises(ValueError, match='empty parameter list'):
        AdamW(p for p in [])


@pytest.mark.parametrize('first', [dict(fused=False), dict(foreach=True), {}])
@pytest.mark.parametrize('second', [dict(fused=False), {}])
def test_resumes_in_its_own_form(first, second):
    model, expected = new_model(), new_model()
    train(expected, torch.optim.AdamW(expected.parameters(), lr=0.01), steps=20)
    optimizer = AdamW(model.parameters(), lr=0.01, **first)
    train(model, optimizer)
    state = copy.deepcopy(optimizer.state_dict())
    resumed = AdamW(model.parameters(), lr=1.0, **second)
    resumed.load_state_dict(state)
    assert [bool(x) for x in train(model, resumed)] == [HAS_FUSED_FORM and not second]
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    with pytest.raises(ValueError, match='group'):
        AdamW(groups(new_model())).load_state_dict(state)


# Of the parameters whose names begin so, by hand for depths of 1, 2, 1 and 1; 6 is for the rest.
LAYERS = {
    'downsample_layers.0.': 0,
    'stages.0.0.': 1,
    'downsample_layers.1.': 2,
    'stages.1.0.': 2,
    'stages.1.1.': 3,
    'out_norms.1.': 3,
    'downsample_layers.2.': 4,
    'stages.2.0.': 4,
    'out_norms.2.': 4,
    'downsample_layers.3.': 5,
    'stages.3.0.': 5,
    'out_norms.3.': 5,
}
# The weights of convolutions and linear layers; all else of the backbone does not decay.
DECAYING = re.compile(
    r'downsample_layers\.0\.0\.weight|downsample_layers\.[123]\.1\.weight|'
    r'.*\.(dwconv|convs\.\d|pwconv1|pwconv2|qkv|proj|token_projection)\.weight'
)
NETWORK = {'model.backbone.arch.depths': (1, 2, 1, 1), 'model.backbone.out_norm': True}
FINETUNING = Config.fromfile(ROOT / 'configs/_base_/schedules/finetuning.py')


def settings(model, constructor=None, **paramwise_cfg):
    """Return the learning rate and the weight decay of each parameter, for base values of 1."""
    cfg = copy.deepcopy(FINETUNING)
    changes = dict(
        optimizer=dict(lr=1.0, weight_decay=1.0),
        constructor=constructor or cfg.optim_wrapper.constructor,
        paramwise_cfg=dict(layer_decay_rate=0.8, **paramwise_cfg),
    )
    cfg.merge_from_dict(dict(optim_wrapper=changes))
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group['lr'], group['weight_decay'])
        for group in build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
        for parameter in group['params']
    }


@pytest.mark.parametrize('task', TASKS)
def test_layer_decay(task):
    model = network(task, **NETWORK)
    expected = {}
    for name, parameter in model.named_parameters():
        inner = name.removeprefix('backbone.')
        (layer,) = [n for start, n in LAYERS.items() if inner.startswith(start)] or [6]
        decays = DECAYING.fullmatch(inner) if inner != name else parameter.ndim > 1
        expected[name] = (pytest.approx(0.8 ** (6 - layer)), float(bool(decays)))
    with DefaultScope.overwrite_default_scope(config_of(task).default_scope):
        assert settings(model) == expected
        if task == 'classification':
            theirs = 'mmpretrain.LearningRateDecayOptimWrapperConstructor'
            assert settings(model, constructor=theirs) == expected


def test_layer_decay_with_other_settings():
    """Multipliers multiply, and frozen stages have no part in it, nor layers that are not built."""
    model = network('segmentation', **NETWORK, **{'model.backbone.frozen_stages': 1})
    keys = {'stages.3': dict(lr_mult=2.0, decay_mult=0.5), 'decode_head': dict(lr_mult=10.0)}
    got = settings(model, custom_keys=keys)
    assert not [
        name
        for name in got
        if name.startswith(('backbone.downsample_layers.0', 'backbone.stages.0'))
    ]
    assert got['backbone.stages.1.1.pwconv1.weight'] == pytest.approx((0.8**3, 1.0))
    assert got['backbone.stages.3.0.pwconv1.weight'] == pytest.approx((2 * 0.8, 0.5))
    assert got['decode_head.conv_seg.weight'] == (10.0, 1.0)

    first_stages = network('segmentation', **{'model.backbone.out_indices': (1,)}).backbone
    got = settings(torch.nn.ModuleList([first_stages, model.backbone]))  # as teacher and student
    assert got['0.downsample_layers.0.0.weight'][0] == pytest.approx(0.8**3)
    assert got['0.stages.1.0.pwconv1.weight'][0] == got['1.stages.3.0.pwconv1.weight'][0] == 0.8


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'paramwise_cfg.layer_decay_rate': None}, 'is a number above 0 .*not None'),
        ({'paramwise_cfg.layer_decay_rate': 1.5}, 'at most 1, such as 0.9, not 1.5'),
        ({'paramwise_cfg.decay_rate': 0.8}, 'paramwise_cfg has decay_rate, .*layer_decay_rate'),
        ({'optimizer.lr': None}, r'set optim_wrapper\.optimizer\.lr'),
        ({}, r"Linear has no EdgeNeXt.*set model\.backbone\.type='edgenext_mm\.EdgeNeXt'"),
    ],
)
def test_layer_decay_refuses(changes, message):
    cfg = copy.deepcopy(FINETUNING)
    cfg.merge_from_dict({f'optim_wrapper.{key}': value for key, value in changes.items()})
    with pytest.raises(InputError, match=message):
        build_optim_wrapper(new_model(), cfg.optim_wrapper)
