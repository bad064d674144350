import copy

import pytest
import torch
from mmengine.registry import OPTIMIZERS

from edgenext_mm.engine import AdamW

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
