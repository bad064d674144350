import pytest
import torch
from mmengine.registry import OPTIMIZERS

NEW = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 4)


def train(build):
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3)
    groups = [
        dict(params=[model.weight], weight_decay=0.1),
        dict(params=[model.bias], weight_decay=0.0, lr=0.05),
    ]
    optimizer = build(groups)
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.ones(2, 5)).square().sum().backward()
        optimizer.step()
    return optimizer, model


@pytest.mark.parametrize('options', [{}, dict(foreach=True), dict(fused=None)])
def test_updates_as_pytorchs(options):
    optimizer, model = train(
        lambda groups: OPTIMIZERS.build(
            dict(type='edgenext_mm.AdamW', params=groups, lr=0.01, **options)
        )
    )
    _, expected = train(lambda groups: torch.optim.AdamW(groups, lr=0.01))
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    fused = [bool(group['fused']) for group in optimizer.param_groups]
    assert fused == [NEW and not options] * 2
