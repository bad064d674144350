import copy

import pytest
import torch
from mmengine.registry import OPTIMIZERS

from edgenext_mm.engine import AdamW

HAS_FUSED_FORM = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 4)


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
    plain = new_model()
    assert bool(AdamW(plain.parameters()).defaults['fused']) == HAS_FUSED_FORM


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
