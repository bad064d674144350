"""The length of the custom examples' runs, and what follows it."""

import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch.utils.data import DataLoader

from edgenext_mm.engine import Runner

CUSTOM = {
    'coco': CONFIGS / 'ssdlite_edgenext_small_custom_coco.py',
    'voc': CONFIGS / 'ssdlite_edgenext_small_custom_voc.py',
    'masks': SEG_CONFIGS / 'deeplabv3_edgenext_small_custom.py',
    'folders': CLS_CONFIGS / 'edgenext_small_custom.py',
}


class Model(BaseModel):
    """Costs nothing, and notes the learning rates."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.register_buffer('statistic', torch.ones(()))
        self.rates = []

    def train_step(self, data, optim_wrapper):
        self.rates += optim_wrapper.get_lr()['lr']
        optim_wrapper.update_params(self.weight**2)
        return dict(loss=self.weight)

    def forward(self, inputs, mode):
        raise NotImplementedError


@pytest.fixture
def prepare(tmp_path):
    """Return a function that prepares a Runner for the recipe of a custom example."""

    def prepare(example, images, **settings):
        cfg = Config.fromfile(CUSTOM.get(example, example))
        batch_size = cfg.train_dataloader.batch_size
        return Runner(
            model=Model(),
            work_dir=str(tmp_path),
            train_dataloader=DataLoader(torch.zeros(images), batch_size, collate_fn=list),
            train_cfg=cfg.train_cfg.to_dict() | settings,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
            param_scheduler=cfg.param_scheduler,
            custom_hooks=cfg.custom_hooks,
            default_hooks=dict(checkpoint=None, logger=None),
            log_level='ERROR',
            experiment_name=f'{example} {images} {settings}',
        )

    return prepare


@pytest.mark.parametrize(
    ('example', 'images', 'iterations'),
    [
        *(('coco', 40, 1002), ('coco', 200, 1001), ('coco', 2000, 6250), ('voc', 20000, 62500)),
        *(('masks', 40, 1000), ('masks', 200, 1250), ('masks', 20000, 125000)),
        *(('folders', 40, 1000), ('folders', 2000, 1890), ('folders', 20000, 18750)),
        ('voc', 5, 1000),
    ],
)
def test_length_follows_the_data(prepare, example, images, iterations):
    runner = prepare(example, images)
    loop = runner.build_train_loop(runner.train_loop)
    assert loop.max_iters == iterations
    validations = loop.max_iters if example == 'masks' else loop.max_epochs
    assert 10 <= validations / loop.val_interval < 20


@pytest.mark.parametrize('example', CUSTOM)
@pytest.mark.parametrize('iterations', [26, 250])
def test_schedule_follows_the_length(prepare, example, iterations):
    """Also where the user sets it."""
    length = dict(max_iters=iterations) if example == 'masks' else dict(max_epochs=iterations)
    # Between two passes over the data, mmengine's IterBasedTrainLoop sleeps for two seconds.
    images = 8 * iterations if example == 'masks' else 8
    runner = prepare(example, images, val_interval=7, **length)
    runner.train()
    assert runner.train_loop.val_interval == 7
    rates = runner.model.rates
    assert len(rates) == iterations
    assert rates[0] == pytest.approx(0.1) and max(rates) > 0.98 and rates[-1] < 0.02
    assert rates.index(max(rates)) <= max(2, iterations / 20)


@pytest.mark.parametrize('example', CUSTOM)
@pytest.mark.parametrize('updates', [26, 250, 2500])
def test_average_leaves_the_initialisation(example, updates):
    (hook,) = Config.fromfile(CUSTOM[example]).custom_hooks
    assert hook.pop('type') == 'EMAHook'
    model = Model()
    average = MODELS.build(dict(hook, type=hook.pop('ema_type')), default_args=dict(model=model))
    average.update_parameters(model)
    model.weight.data.zero_()
    model.statistic.zero_()
    for _ in range(updates - 1):
        average.update_parameters(model)
    assert average.module.weight < 0.01
    assert average.module.statistic == average.module.weight
    # And it is an average: of 10% of the updates, up to 2,000.
    share = max(10 / (10 + updates), 5e-4)
    model.weight.data.fill_(1.0)
    before = average.module.weight.item()
    average.update_parameters(model)
    assert average.module.weight - before == pytest.approx(share * (1 - before), rel=0.01)


def test_recipes_for_longer_runs_are_named(prepare, monkeypatch):
    said = []
    for config, expected in ((CONFIGS / 'ssdlite_edgenext_small_coco.py', 2), ('coco', 0)):
        runner = prepare(config, 320, max_epochs=13, val_interval=20)
        runner.register_hook(dict(type='edgenext_mm.RunLengthCheckHook'))
        monkeypatch.setattr(runner.logger, 'warning', said.append)
        runner.train()
        assert len(said) == expected
        if expected:
            assert 'momentum=0.0005 leaves 94% of the weights at the start' in said[0]
            assert 'after 500 iterations, and this run has 130' in said[1]
            said.clear()
