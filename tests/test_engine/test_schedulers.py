import pytest
import torch
from mmengine.optim import CosineAnnealingLR

from edgenext_mm.engine import WarmupLR


@pytest.mark.parametrize('steps', [2, 26, 250, 2500])
def test_warmup_is_a_share_of_the_run(steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedules = [
        WarmupLR(optimizer, start_factor=0.1, by_epoch=False, end=steps),
        CosineAnnealingLR(optimizer, eta_min=1e-6, by_epoch=False, end=steps),
    ]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    assert rates[0] == pytest.approx(0.1)
    warmup = max(2, steps // 20)
    assert rates.index(max(rates)) <= warmup
    assert max(rates) > (0.98 if steps > 2 else 0.4)
    assert steps == 2 or rates[-1] < 0.02
