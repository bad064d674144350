"""What the configs say."""

import pytest
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmengine.config import Config

# Of the paper and its recipes: to change these numbers is to change the experiment.
RECIPES = {
    'detection': dict(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=5),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
            dict(
                type='CosineAnnealingLR',
                T_max=200,
                eta_min=1e-6,
                by_epoch=True,
                convert_to_iter_based=True,
            ),
        ],
        custom_hooks=[dict(type='EMAHook', momentum=5e-4)],
    ),
    'segmentation': dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=4000),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
            dict(type='CosineAnnealingLR', T_max=80000, eta_min=1e-6, by_epoch=False),
        ],
        custom_hooks=[dict(type='EMAHook', momentum=5e-4)],
    ),
}
PAPER = [*CONFIGS.glob('*_coco.py'), *SEG_CONFIGS.glob('*_voc.py')]


@pytest.mark.parametrize(
    'path', [path for path in PAPER if 'custom' not in path.stem], ids=lambda path: path.stem
)
def test_recipes_of_the_paper(path):
    cfg = Config.fromfile(path).to_dict()
    expected = RECIPES[path.parent.name]
    assert {key: cfg[key] for key in expected} == expected
    assert 'min_negatives' not in cfg['model'].get('train_cfg', {})
    if path.parent == CONFIGS:
        assert cfg['train_dataloader']['dataset']['filter_cfg'] == dict(filter_empty_gt=True)


@pytest.mark.parametrize('folder', [CONFIGS, SEG_CONFIGS, CLS_CONFIGS], ids=lambda path: path.name)
def test_custom_examples(folder):
    """Learn from all images, also those without objects."""
    for path in folder.glob('*_custom*.py'):
        cfg = Config.fromfile(path)
        assert cfg.train_cfg.type.startswith('edgenext_mm.')
        if folder == CONFIGS:
            assert cfg.train_dataloader.dataset.filter_cfg == dict(filter_empty_gt=False)
            assert cfg.model.train_cfg.min_negatives == 10
