"""What load_from and resume bring into the models of all tasks, through the runner."""

import logging

import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS, data_roots
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import Runner

from edgenext_mm.engine.hooks import unwrapped
from edgenext_mm.errors import InputError

ARCH = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)
TASKS = {
    'detection': (
        CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
        dict(neck=dict(in_channels=(16, 24, 32))),
    ),
    'segmentation': (
        SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
        dict(decode_head=dict(in_channels=32, channels=16)),
    ),
    'classification': (
        CLS_CONFIGS / 'edgenext_xx_small_demo.py',
        dict(head=dict(in_channels=32)),
    ),
}
DENSE = ['detection', 'segmentation']
LAST = {
    'detection': 'bbox_head.cls_convs.0.1.bias',
    'segmentation': 'decode_head.conv_seg.bias',
    'classification': 'head.fc.bias',
}


class Loaded(Exception):
    """Ends a run when the weights are in, before the first batch."""


class Stop(Hook):
    def before_train(self, runner):
        raise Loaded

    def before_test(self, runner):
        raise Loaded


@pytest.fixture
def load(demo_data, tmp_path, monkeypatch):
    """Return a function that runs a small network until its weights are in, and returns it.

    It takes the mode, "train" or "test", what a checkpoint holds, and settings of the config.
    """
    for variable, value in data_roots(demo_data).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)  # asks compilers, for seconds

    def run(task, mode, content, tta=False, **settings):
        torch.save(content, tmp_path / 'loaded.pth')
        cfg = config_of(task)
        cfg.merge_from_dict({'load_from': str(tmp_path / 'loaded.pth'), **settings})
        cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
        cfg.work_dir = str(tmp_path / 'work')
        if tta:
            cfg.model = dict(**cfg.tta_model, module=cfg.model)
        init_default_scope(cfg.default_scope)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(Stop(), 'LOWEST')
        with pytest.raises(Loaded):
            getattr(runner, mode)()
        return runner.model

    return run


def config_of(task):
    path, model = TASKS[task]
    cfg = Config.fromfile(path)
    cfg.model.backbone.arch = ARCH
    cfg.merge_from_dict({'model': model})
    return cfg


def network(task):
    with DefaultScope.overwrite_default_scope(config_of(task).default_scope):
        return MODELS.build(config_of(task).model)


@pytest.fixture
def said(monkeypatch):
    """Return a function that returns what the log warned of."""
    records = []
    monkeypatch.setattr(MMLogger, 'callHandlers', lambda self, record: records.append(record))
    return lambda: [r.getMessage() for r in records if r.levelno == logging.WARNING]


def noise(task):
    """Return weights that no initialisation gives."""
    state = network(task).state_dict()
    return {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in state.items()}


def below(prefix, state):
    return {f'{prefix}{key}': value for key, value in state.items()}


def backbone_of(state):
    return {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}


def assert_equal(model, expected):
    state = unwrapped(model).state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) for key, value in expected.items())


@pytest.mark.parametrize('task', TASKS)
def test_whole_models(load, said, task):
    """In all the wrappings, for tests, augmented tests, training and resumed training."""
    state = noise(task)
    other = {key: torch.zeros_like(value) for key, value in state.items()}
    assert_equal(load(task, 'test', below('module.', state)), state)
    assert_equal(load(task, 'test', {'model': other, 'model_ema': state}, tta=True), state)
    assert_equal(load(task, 'train', {'state_dict': state}), state)
    assert not [text for text in said() if 'loaded.pth' in text or 'do not match' in text]


def test_processes(load, tmp_path, monkeypatch):
    """A model in the wrapper of several processes."""
    state = noise('segmentation')
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)  # as on CPUs
    settings = dict(launcher='pytorch', model_wrapper_cfg=wrapper, sync_bn=None)
    monkeypatch.setenv('LOCAL_RANK', '0')
    store = f'file://{tmp_path}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=0, world_size=1)
    try:
        model = load('segmentation', 'test', {'state_dict': state}, **settings)
    finally:
        torch.distributed.destroy_process_group()
    assert type(model).__name__ == 'MMDistributedDataParallel'
    assert_equal(model, state)


@pytest.mark.parametrize('mode', ['train', 'test'])
@pytest.mark.parametrize('task', DENSE)
def test_parts_are_refused(load, task, mode):
    """A backbone or a classifier for a detector or segmentor, of any family, and other networks."""

    def message(content):
        with pytest.raises(InputError, match=r'loaded\.pth does not fit this model: ') as error:
            load(task, mode, content)
        return str(error.value)

    state = noise(task)
    backbone, head = backbone_of(state), {'norm.weight': torch.ones(32)}
    fit = f'{len(backbone)} of {len(state)} tensors fit; {len(state) - len(backbone)} missing'
    for content in (
        backbone,
        below('backbone.', backbone),
        {'model': backbone | head},
        below('backbone.', backbone) | {'head.fc.bias': torch.ones(6)},
    ):
        text = message(content)
        assert fit in text and 'Its backbone fits' in text and 'model.backbone.init_cfg=' in text
    text = message({'conv1.weight': torch.ones(2)})
    assert f'0 of {len(state)} tensors fit' in text and 'init_cfg' not in text
    del state['backbone.stages.0.0.gamma']
    assert '1 missing (backbone.stages.0.0.gamma)' in message(state)


def test_short_names_for_other_networks(load, tmp_path, monkeypatch):
    """The report: nothing of 294 tensors was loaded, without an error."""
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    torch.save({'model': backbone_of(noise('detection'))}, tmp_path / 'edgenext_small.pth')
    with pytest.raises(InputError, match=r'edgenext://small does not fit this model: \d+ of'):
        load('detection', 'test', {}, load_from='edgenext://small')


@pytest.mark.parametrize('task', TASKS)
def test_other_classes(load, said, task):
    """Training starts from what is the same and says what is not; tests take nothing else."""
    state = noise(task)
    size = state[LAST[task]].shape
    content = state | {LAST[task]: torch.ones(21), 'extra_head.weight': torch.ones(2)}
    own = load(task, 'train', content).state_dict()
    assert own.keys() == state.keys() and own[LAST[task]].shape == size
    different = [key for key in state if not torch.equal(own[key], state[key])]
    assert different == [LAST[task]]
    names = ', '.join(sorted([LAST[task], 'extra_head.weight']))
    (text,) = (text for text in said() if 'loaded.pth' in text)
    assert f'2 tensors are missing, unexpected or of another shape ({names})' in text
    with pytest.raises(InputError, match=r'1 unexpected .*; 1 of another shape') as error:
        load(task, 'test', content)
    assert f'{LAST[task]} ((21,) in the checkpoint, ' in str(error.value)
    del state[LAST[task]]
    load(task, 'train', state)
    with pytest.raises(InputError, match=f'; 1 missing .{LAST[task]}'):
        load(task, 'test', state)


def test_output_norms_in_tests(load):
    """Without these, or with those of another network, the test would give other numbers."""
    state, settings = noise('segmentation'), {'model.backbone.out_norm': True}
    norm = below('backbone.out_norms.3.', {'weight': torch.ones(32), 'bias': torch.ones(32)})
    with pytest.raises(InputError, match=r'2 missing \(backbone\.out_norms'):
        load('segmentation', 'test', state, **settings)
    with pytest.raises(InputError, match=r'2 unexpected \(backbone\.out_norms'):
        load('segmentation', 'test', state | norm)
    load('segmentation', 'train', state, **settings)
    model = load('segmentation', 'test', state | norm, **settings)
    assert_equal(model, state | norm)


@pytest.mark.parametrize('task', ['classification'])
def test_resumes_exactly(load, task):
    state = noise(task)
    for content in (
        {key: value for key, value in state.items() if key != LAST[task]},
        state | {LAST[task]: torch.ones(21)},
        state | {'backbone.out_norms.3.weight': torch.ones(32)},
        backbone_of(state),
    ):
        with pytest.raises(InputError, match=r'loaded\.pth cannot be resumed from: \d+ of'):
            load(task, 'train', {'state_dict': content, 'meta': {}}, resume=True)
