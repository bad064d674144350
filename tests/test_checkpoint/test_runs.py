"""What load_from and resume bring into the models of all tasks, through the runner."""

import logging

import pytest
import torch
from conftest import data_roots
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from small_networks import CLASS_LAYERS, CLASSES, LAST, TASKS, below, config_of, noise

from edgenext_mm.engine.hooks import unwrapped
from edgenext_mm.errors import InputError

DENSE = ['detection', 'segmentation']


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

    def run(task, mode, content, tta=False, hooks=(), **settings):
        torch.save(content, tmp_path / 'loaded.pth')
        cfg = config_of(task)
        cfg.merge_from_dict({'load_from': str(tmp_path / 'loaded.pth'), **settings})
        cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
        # PyTorch 2.1 ends workers that have not worked yet after five seconds each.
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.work_dir = str(tmp_path / 'work')
        if tta:
            cfg.model = dict(**cfg.tta_model, module=cfg.model)
        init_default_scope(cfg.default_scope)
        runner = Runner.from_cfg(cfg)
        for hook in (*hooks, Stop()):
            runner.register_hook(hook, 'LOWEST')
        with pytest.raises(Loaded):
            getattr(runner, mode)()
        return runner.model

    return run


@pytest.fixture
def said(monkeypatch):
    """Return a function that returns what the log warned of."""
    records = []
    monkeypatch.setattr(MMLogger, 'callHandlers', lambda self, record: records.append(record))
    return lambda: [r.getMessage() for r in records if r.levelno == logging.WARNING]


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


@pytest.mark.slow
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
    """Training starts from what is the same and names the layers that are not."""
    content = noise(task, **{CLASSES[task]: 20})
    state = load(task, 'train', content).state_dict()
    layers = {key.rpartition('.')[0] for key in state if not torch.equal(state[key], content[key])}
    assert sorted(layers) == CLASS_LAYERS[task]
    (text,) = (text for text in said() if 'loaded.pth' in text)
    names = ', '.join(CLASS_LAYERS[task])
    assert f'the tensors of {len(layers)} layers are missing or of another shape ({names})' in text
    with pytest.raises(InputError, match=f'{2 * len(layers)} of another shape .*Its backbone fits'):
        load(task, 'test', content)
    del content[LAST[task]]
    load(task, 'train', content)
    with pytest.raises(InputError, match=f'; 1 missing .{LAST[task]}'):
        load(task, 'test', content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'mode'),
    [('detection', 'train'), ('segmentation', 'train'), ('classification', 'test')],
)
def test_nothing_else_may_differ(load, task, mode):
    """Not what is beside the layers for the classes, nor more than the model has, nor NaN."""
    state = noise(task)
    other = next(
        key
        for key in state
        if not key.startswith('backbone.')
        and key.rpartition('.')[0] not in CLASS_LAYERS[task]
        and state[key].is_floating_point()
    )
    for content, words in (
        ({k: v for k, v in state.items() if k != other}, f'1 missing .{other}'),
        (state | {other: torch.ones(21)}, f'1 of another shape .{other}'),
        (state | {'extra_head.weight': torch.ones(2)}, '1 unexpected .extra_head.weight'),
        (state | {other: state[other] * torch.nan}, f'1 of .* are not finite .{other}'),
        (dict(optimizer={}), 'tensors fit; .* missing'),
        ({}, 'tensors fit; .* missing'),
        ([1], 'holds no state dict, but a list'),
    ):
        with pytest.raises(InputError, match=words):
            load(task, mode, content)


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_names_of_wrappers(load, said, task):
    """torch.compile's, of the whole or of parts; those of DataParallel and of Lightning."""
    state = noise(task)
    parts = {key.replace('backbone.', 'backbone._orig_mod.'): value for key, value in state.items()}
    lightning = {'pytorch-lightning_version': '2.4', 'hyper_parameters': {}, 'epoch': 3}
    for content in (
        below('_orig_mod.', state),
        parts,
        below('module._orig_mod.', state),
        {**lightning, 'state_dict': below('net.', state)},
        {**lightning, 'state_dict': state},
        below('net.module.', state),
    ):
        assert_equal(load(task, 'test', content), state)
    assert not [text for text in said() if 'loaded.pth' in text]
    beside = {'loss.weight': torch.ones(2)}
    content = {**lightning, 'state_dict': below('model.', state) | beside}
    assert_equal(load(task, 'train', content), state)
    (text,) = (text for text in said() if 'loaded.pth' in text)
    assert "1 tensors beside those under 'model.' are left out (loss.weight)" in text


def test_output_norms_in_tests(load):
    """Without these, or with those of another network, the test would give other numbers."""
    state, settings = noise('segmentation'), {'model.backbone.out_norm': True}
    norm = below('backbone.out_norms.3.', {'weight': torch.ones(32), 'bias': torch.ones(32)})
    with pytest.raises(InputError, match=r'2 missing \(backbone\.out_norms'):
        load('segmentation', 'test', state, **settings)
    with pytest.raises(InputError, match=r'2 unexpected \(backbone\.out_norms'):
        load('segmentation', 'test', state | norm)
    with pytest.raises(InputError, match=r'2 missing \(backbone\.out_norms'):
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


def test_resumes_the_same_run(load, tmp_path):
    """A checkpoint of another run, or without all that the run had, is refused in one message."""
    task = 'segmentation'
    states = []

    class Keep(Hook):
        def before_train(self, runner):
            runner.save_checkpoint(str(tmp_path), 'whole.pth')
            states.append(torch.load(tmp_path / 'whole.pth', weights_only=False))

    load(task, 'train', noise(task), hooks=[Keep()])
    (whole,) = states
    load(task, 'train', whole, resume=True)

    def message(content, **settings):
        with pytest.raises(InputError, match=r'loaded\.pth cannot be resumed from') as error:
            load(task, 'train', content, resume=True, **settings)
        return str(error.value)

    for key in ('meta', 'message_hub', 'optimizer', 'param_schedulers'):
        text = message({k: v for k, v in whole.items() if k != key})
        assert ('epoch and iter in meta' if key == 'meta' else f'it has no {key}') in text
        assert 'by load_from' in text
    assert 'it is of a run with averaged weights' in message(whole, custom_hooks=[])
    ema = {k: v for k, v in whole['ema_state_dict'].items() if 'conv_seg' not in k}
    assert 'for the average: ' in message({**whole, 'ema_state_dict': ema})
    sgd = dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9)
    other = 'its optimizer has other settings'
    assert other in message(whole, **{'optim_wrapper.optimizer': sgd})
    groups = dict(custom_keys=dict(decode_head=dict(lr_mult=10.0)))
    assert other in message(whole, **{'optim_wrapper.paramwise_cfg': groups})
    schedulers = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5)]
    assert 'it has 2 schedulers and' in message(whole, param_scheduler=schedulers)
