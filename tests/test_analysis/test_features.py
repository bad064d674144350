"""tools/analysis/visualize_features.py."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import ARCH, TASKS, network

from edgenext_mm.analysis.features import record


@pytest.fixture(scope='module')
def detector():
    torch.manual_seed(0)
    return network('detection').eval()


def test_maps_of_the_first_image(detector):
    backbone, images = detector.backbone, torch.randn(2, 3, 64, 96)
    hooks = [len(module._forward_hooks) for module in backbone.modules()]
    maps = record(detector, lambda: backbone(images))
    torch.testing.assert_close(maps['image'], images[0])
    outs = backbone(images)
    for number, out in zip((2, 3, 4), outs, strict=True):
        torch.testing.assert_close(maps[f'stage {number}'], out[0].abs().mean(dim=0))
        dim, size = ARCH['dims'][number - 1], out.shape[2:]
        attention = maps[f'attention {number}']
        assert attention.shape == (dim, dim)
        torch.testing.assert_close(attention.sum(dim=1), torch.ones(dim))
        assert not attention[: dim // 2, dim // 2 :].any()  # between heads
        assert maps[f'heads {number}'].shape == (2, *size)
    assert 'attention 1' not in maps
    assert [len(module._forward_hooks) for module in backbone.modules()] == hooks


def test_strength_is_of_what_the_projection_gets(detector):
    xca, got = detector.backbone.stages[1][-1].xca, []
    handle = xca.proj.register_forward_pre_hook(lambda _, inputs: got.append(inputs[0]))
    maps = record(detector, lambda: detector.backbone(torch.randn(1, 3, 64, 64)))
    handle.remove()
    strength = got[0][0].unflatten(2, (2, -1)).norm(dim=-1).permute(2, 0, 1)
    torch.testing.assert_close(maps['heads 2'], strength)


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_picture(run_tool, demo_data, tmp_path, task):
    config, settings = TASKS[task]
    model = dict(settings, backbone=dict(arch=dict(_delete_=True, **ARCH)))
    (tmp_path / 'config.py').write_text(f'_base_ = {str(config)!r}\nmodel = {model!r}\n')
    torch.save(dict(state_dict=network(task).state_dict(), meta={}), tmp_path / 'a.pth')
    image = min((demo_data / 'val2017').iterdir())
    run_tool(
        *('analysis/visualize_features.py', 'config.py', 'a.pth', image),
        *('--device', 'cpu', '--out', 'a.png'),
    )
    drawn = np.array(Image.open(tmp_path / 'a.png'))
    assert drawn.shape[:2] == (960, 960) and drawn.std() > 20
