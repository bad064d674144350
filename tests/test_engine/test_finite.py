"""Runs whose losses, gradients, weights or statistics are not finite, through mmengine's Runner."""

import logging

import pytest
import torch
import torch.nn as nn
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from edgenext_mm.engine import FiniteHook
from edgenext_mm.errors import InputError

GOOD = 'good'


class Double(torch.autograd.Function):
    """The identity, whose gradient is infinite where asked for."""

    @staticmethod
    def forward(ctx, x, is_bad):
        ctx.is_bad = is_bad
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * (torch.inf if ctx.is_bad else 1), None


class Images(BaseDataset):
    """Images with a path and a kind of fault."""

    def __init__(self, kinds):
        self.kinds = kinds
        super().__init__(metainfo=dict(classes=('a',)), pipeline=[])

    def load_data_list(self):
        generator = torch.Generator().manual_seed(0)
        images = {GOOD: iter(torch.rand(len(self.kinds), 3, 4, 4, generator=generator))}
        return [
            dict(
                inputs=next(images[GOOD]) if kind == GOOD else torch.ones(3, 4, 4),
                data_samples=BaseDataElement(metainfo=dict(img_path=f'{i}_{kind}.jpg', kind=kind)),
            )
            for i, kind in enumerate(self.kinds)
        ]

    def prepare_data(self, idx):
        return self.get_data_info(idx)

    def get_data_info(self, idx):
        info = super().get_data_info(idx)
        return {key: info[key] for key in ('inputs', 'data_samples')}


class Network(BaseModel):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, inputs, data_samples, mode):
        kinds = [sample.kind for sample in data_samples]
        x = torch.stack(inputs)
        if 'pixels' in kinds:
            x = x * torch.nan
        if 'large' in kinds:  # the variance overflows, the normed map does not
            x = x + torch.randn_like(x) * 1e25
        x = self.norm(self.conv(x))
        if mode != 'loss':
            return [*x]
        if 'zero' in kinds:
            x = x * 0
        out = Double.apply(self.head(x), 'gradient' in kinds) * ('zero' not in kinds)
        loss_bbox = out.square().mean(dim=(1, 2, 3))
        if 'loss' in kinds:
            loss_bbox = loss_bbox + torch.inf
        return dict(loss_cls=out.mean(), loss_bbox=[*loss_bbox], acc=torch.tensor(torch.nan))


class Metric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(score=torch.rand(()).item())


scales_losses = pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'), reason='PyTorch before 2.3 scales losses on GPUs alone'
)


@OPTIM_WRAPPERS.register_module()
class ScaledOptimWrapper(OptimWrapper):
    """mmengine's AmpOptimWrapper, which is for GPUs alone, on a CPU."""

    def __init__(self, scale=2.0**16, **kwargs):
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


def new_runner(tmp_path, kinds, epochs=1, hooks=(), by_epoch=True, **settings):
    """A run in batches of two, the first two kinds in the first one."""
    settings = dict(dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)), **settings)
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=Images(kinds),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    length = len(kinds) // 2 * epochs
    train_cfg = dict(by_epoch=True, max_epochs=epochs)
    torch.manual_seed(0)
    return Runner(
        Network(),
        str(tmp_path),
        train_dataloader=loader,
        val_dataloader=dict(loader, dataset=Images([GOOD] * 2)),
        train_cfg=train_cfg if by_epoch else dict(by_epoch=False, max_iters=length),
        val_cfg=dict(),
        val_evaluator=[Metric()],
        optim_wrapper=settings,
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                by_epoch=by_epoch,
                interval=1,
                max_keep_ckpts=1,
                save_best='score',
                rule='greater',
            ),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[dict(type='EMAHook', momentum=0.2), *hooks, FiniteHook()],
        experiment_name=f'{tmp_path.name}_{len(kinds)}_{id(kinds)}',
    )


@pytest.fixture
def warnings(monkeypatch):
    records = []
    monkeypatch.setattr(MMLogger, 'callHandlers', lambda self, record: records.append(record))
    return lambda: [r.getMessage() for r in records if r.levelno == logging.WARNING]


def everything(runner):
    """Weights, statistics, averages, and the state of the optimizer."""
    (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    optimizer = runner.optim_wrapper.optimizer
    state = dict(runner.model.state_dict())
    state |= {f'ema.{key}': value for key, value in ema.ema_model.state_dict().items()}
    for index, values in optimizer.state_dict()['state'].items():
        state |= {f'{index}.{key}': value for key, value in values.items() if value is not None}
    return state


CPU_AMP = dict(type='edgenext_mm.CPUAmpOptimWrapper')


@pytest.mark.parametrize(
    ('kind', 'settings', 'words'),
    [
        ('loss', {}, 'loss_bbox=inf'),
        ('gradient', {}, 'the gradients are not finite'),
        ('pixels', {}, 'loss_cls=nan, loss_bbox=nan'),
        ('large', {}, 'norm.running_var (a buffer) is not finite'),
        ('pixels', CPU_AMP, 'loss_cls=nan, loss_bbox=nan'),
        pytest.param(
            *('loss', dict(type='ScaledOptimWrapper', scale=4.0), 'loss_bbox=inf'),
            marks=scales_losses,
        ),
        ('loss', dict(clip_grad=dict(max_norm=1.0)), 'loss_bbox=inf'),
        ('gradient', dict(clip_grad=dict(type='value', clip_value=1.0)), 'the gradients are not'),
        ('pixels', dict(optimizer=dict(type='AdamW', lr=0.01)), 'loss_cls=nan'),
    ],
)
def test_as_if_the_batch_were_not_there(tmp_path, warnings, kind, settings, words):
    """Weights, statistics and averages are those of a run without it, and its images are named."""
    states = []
    for index, bad in enumerate([[], ['beside', kind]]):
        kinds = [GOOD] * 4 + bad + [GOOD] * 4
        by_epoch = bool(settings)
        runner = new_runner(tmp_path / str(index), kinds, by_epoch=by_epoch, **settings)
        runner.train()
        states.append(everything(runner))
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    (warning,) = (text for text in warnings() if text.startswith('iteration '))
    assert warning.startswith(f'iteration 3: {words}')
    assert f'in the batch of 4_beside.jpg, 5_{kind}.jpg. The step is left out, 1 of' in warning


def test_bad_from_the_first_batch_on(tmp_path):
    """The log has no loss of the first iteration, and the run goes on."""
    runner = new_runner(tmp_path, ['loss', GOOD, GOOD, GOOD])
    runner.train()
    assert runner.message_hub.get_scalar('train/loss').mean() < torch.inf


def test_accumulated_gradients(tmp_path, warnings):
    """All batches since the last step are left out, and the bad one is named."""
    states = []
    for index, bad in enumerate([[], ['beside'] * 2 + ['loss', 'beside']]):
        kinds = [GOOD] * 4 + bad + [GOOD] * 4
        runner = new_runner(tmp_path / str(index), kinds, accumulative_counts=2)
        runner.train()
        states.append(everything(runner))
    for key, value in states[0].items():
        # The average saw the weights before the step three times, not once.
        assert key.startswith('ema.') or torch.equal(value, states[1][key]), key
    (warning,) = (text for text in warnings() if text.startswith('iteration '))
    assert warning.startswith('iteration 4: loss_bbox=inf in the batch of 6_loss.jpg, 7_beside.jpg')


@pytest.mark.parametrize('by_epoch', [True, False])
def test_ends_after_a_few_in_a_row(tmp_path, by_epoch):
    """The checkpoints before stay, and nothing that is not finite is in them."""
    kinds = [GOOD] * 4 + ['loss', GOOD] * 2 + [GOOD] * 2 + ['loss'] * 10
    runner = new_runner(tmp_path, kinds, by_epoch=by_epoch)
    with pytest.raises(InputError) as error:
        runner.train()
    text = str(error.value)
    assert text.startswith('iteration 10: loss_bbox=inf in the batch of 18_loss.jpg, 19_loss.jpg.')
    assert 'No step has been made in 5 iterations in a row' in text
    assert 'tools/check_dataset.py' in text and 'optim_wrapper.optimizer.lr' in text
    files = [path.name for path in tmp_path.glob('*.pth')]
    assert files == ([] if by_epoch else ['iter_9.pth'])
    for file in files:
        content = torch.load(tmp_path / file, weights_only=False)
        for states in ('state_dict', 'ema_state_dict'):
            assert all(value.isfinite().all() for value in content[states].values())


@scales_losses
def test_loss_scaling(tmp_path, warnings):
    """Gradients that overflow at a large scale are for the scaler; at a small one they are bad."""
    runner = new_runner(tmp_path, [GOOD] * 12, type='ScaledOptimWrapper', scale=2.0**127)
    runner.train()
    assert not [text for text in warnings() if 'iteration' in text]
    scale = runner.optim_wrapper.loss_scaler.get_scale()
    assert scale < 2.0**127
    kinds = [GOOD] * 2 + ['gradient'] * 18
    runner = new_runner(tmp_path, kinds, type='ScaledOptimWrapper', scale=4.0)
    with pytest.raises(InputError, match='iteration 9: the gradients are not finite'):
        runner.train()


@pytest.mark.parametrize(
    ('kinds', 'settings', 'words'),
    [
        (['zero'] * 4, {}, 'all gradients of 2 iterations were 0'),
        (['loss'] * 4, {}, 'all 2 steps were left out'),
        ([GOOD] * 4, dict(optimizer=dict(type='SGD', lr=0.0)), 'the learning rate was 0'),
        ([GOOD] * 4, dict(clip_grad=dict(max_norm=0)), 'max_norm=0, which turns gradients to 0'),
        ([GOOD] * 4, dict(clip_grad=dict(type='value', clip_value=-1)), 'has clip_value=-1'),
    ],
)
def test_a_run_that_learns_nothing_fails(tmp_path, kinds, settings, words):
    runner = new_runner(tmp_path, kinds, **settings)
    with pytest.raises(InputError, match=words):
        runner.train()
    assert 'learning rate' in words or not [*tmp_path.glob('*.pth')]


def test_frozen(tmp_path):
    runner = new_runner(tmp_path, [GOOD] * 2)
    runner.model.requires_grad_(False)
    with pytest.raises(InputError, match='all parameters of the model are frozen'):
        runner.train()


class Spoil(Hook):
    """Spoils a tensor of the model or of the average, as an update of theirs might."""

    priority = 'HIGHEST'

    def __init__(self, name, value, iteration):
        self.name, self.value, self.iteration = name, value, iteration

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == self.iteration:
            (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
            model = nn.ModuleDict(dict(model=runner.model, ema=ema.ema_model.module))
            model.state_dict()[self.name][0] = self.value


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize(
    ('name', 'what'),
    [
        ('model.conv.bias', r'tensors of the (averaged )?model are not finite \(conv.bias'),
        ('ema.head.bias', r'tensors of the averaged model are not finite \(head.bias'),
    ],
)
def test_bad_weights_are_not_saved(tmp_path, by_epoch, name, what):
    """Not by intervals, nor as the best, and no file is deleted for that."""
    kinds, iteration = [GOOD] * 4, 2
    spoil = Spoil(name, torch.nan, iteration)
    runner = new_runner(tmp_path, kinds, 3, [spoil], by_epoch)
    with pytest.raises(InputError, match=what):
        runner.train()
    files = {path.name for path in tmp_path.glob('*.pth')}
    assert f'{"epoch_1" if by_epoch else "iter_2"}.pth' in files
    for file in files:
        content = torch.load(tmp_path / file, weights_only=False)
        assert content['meta']['iter'] <= 2
        for states in ('state_dict', 'ema_state_dict'):
            assert all(value.isfinite().all() for value in content[states].values())
    runner.call_hook('before_train_iter', batch_idx=0)
    with pytest.raises(InputError, match='are not finite'):
        runner.save_checkpoint(str(tmp_path), 'last.pth')
    assert not (tmp_path / 'last.pth').exists()


def test_leaves_no_trace(tmp_path):
    """After a run, optimizer wrapper, hooks and model are what they were."""
    runner = new_runner(tmp_path, [GOOD] * 2)
    runner.train()
    (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    assert 'step' not in vars(runner.optim_wrapper) and 'after_train_iter' not in vars(ema)
    assert not runner.model._forward_hooks
    assert any(isinstance(hook, CheckpointHook) for hook in runner.hooks)
