import pytest
from conftest import CONFIGS, SEG_CONFIGS, options
from mmengine.config import Config
from mmengine.registry import RUNNERS, init_default_scope

from edgenext_mm.engine import Runner

DEMO = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'


@pytest.mark.parametrize('config', [DEMO, SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'])
def test_loaders_without_workers(config, demo_data, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(demo_data))
    monkeypatch.setenv('VOC_ROOT', str(demo_data / 'VOC2012'))
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    # Also for the tools of other libraries, which build what runner_type says.
    assert RUNNERS.get(cfg.runner_type) is Runner
    for name in ('train', 'val', 'test'):
        dataloader = cfg[f'{name}_dataloader']
        dataloader.update(num_workers=0, prefetch_factor=2)
        loader = Runner.build_dataloader(dataloader)
        assert loader.num_workers == 0 and not loader.persistent_workers
        assert dataloader.persistent_workers and dataloader.prefetch_factor == 2
    dataloader.num_workers = 1
    loader = Runner.build_dataloader(dataloader)
    assert loader.persistent_workers and loader.prefetch_factor == 2
    assert Runner.build_dataloader(loader) is loader


@pytest.mark.slow
def test_run_without_workers(run_tool, tmp_path):
    settings = {f'{name}_dataloader.num_workers': 0 for name in ('train', 'val', 'test')}
    arguments = (f'--work-dir={tmp_path}/work', *options(settings))
    short = ('train_cfg.max_epochs=1', 'train_dataloader.batch_size=16')
    run_tool('train.py', DEMO, *arguments, *short)
    run_tool('test.py', DEMO, tmp_path / 'work/epoch_1.pth', *arguments)
    run_tool('profile_training.py', DEMO, *arguments, '--iterations=1', '--samples=1')
