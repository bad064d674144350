"""What each of two processes does, which import this module; see test_distributed.py."""

import copy
import os
import re
import time
from datetime import timedelta
from functools import partial

import pytest
import torch
import torch.distributed as dist
from conftest import ROOT, SEG_CONFIGS, be_quick, data_roots
from killed_runs import EXACT, last_checkpoint, small_run
from mmengine.config import Config
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from short_runs import build
from small_examples import EXAMPLES, small_example
from small_networks import TASKS
from torch.nn.modules.batchnorm import _BatchNorm

from edgenext_mm.checkpoint.files import find_damage
from edgenext_mm.engine import FiniteHook, Runner
from edgenext_mm.engine.hooks import unwrapped
from edgenext_mm.errors import InputError

FSDP = ROOT / 'configs' / '_base_' / 'strategies' / 'fsdp.py'
DEMO_SEG = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'
TINY = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)


def retinanet(folder, data):
    """RetinaNet with FPN, from the lines that the README gives."""
    readme = (ROOT / 'README.md').read_text()
    lines = re.search(r"```python\n(_base_ = 'mmdet::retinanet.*?)```", readme, re.S)[1]
    path = folder / 'retinanet.py'
    path.write_text(lines)
    cfg = Config.fromfile(path)
    cfg.model.backbone.init_cfg = None  # there is no network
    cfg.train_dataloader.dataset.data_root = f'{data}/'
    cfg.train_dataloader.dataset.pipeline[2].scale = (96, 96)
    return cfg


def first_stages(folder, data):
    """A segmentor on the first two of four stages."""
    cfg = Config.fromfile(DEMO_SEG)
    cfg.model.backbone.update(arch=TINY, out_indices=(0, 1), output_stride=32)
    cfg.model.decode_head = dict(
        type='FCNHead',
        in_channels=TINY['dims'][:2],
        in_index=(0, 1),
        input_transform='resize_concat',
        channels=8,
        num_classes=7,
    )
    cfg.train_dataloader.dataset.data_root = f'{data}/VOC2012'
    cfg.train_dataloader.dataset.pipeline[2].scale = (128, 64)
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (64, 64)
    cfg.model.data_preprocessor.size = (64, 64)
    return cfg


class SpoilLoss(Hook):
    """Makes the losses infinite in one process, which has no effect on gradients."""

    def __init__(self, iterations):
        self.iterations = iterations

    def before_run(self, runner):
        def spoil(model, inputs, losses):
            if dist.get_rank() == 1 and model.training and runner.iter in self.iterations:
                return {key: value + torch.inf for key, value in losses.items()}

        runner.model.module.register_forward_hook(spoil)


class Curve(Hook):
    """Notes the mean loss of the processes, and leaves the statistics of BatchNorm as they are."""

    def __init__(self):
        self.losses = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs['loss'].detach().clone()
        all_reduce(loss, 'mean')
        self.losses.append(loss.item())


def run_of(task, data, work_dir):
    """Return the config of a run whose data alone are random, for one process or several.

    Its tests are of an odd number of images, in batches that do not go into it.
    """
    cfg = small_run(task, data, work_dir, **{'model.backbone.drop_path_rate': 0})
    processes = get_world_size()
    cfg.update(launcher='none' if processes == 1 else 'pytorch', sync_bn=None)
    cfg.train_dataloader.batch_size //= processes
    if 'max_iters' in cfg.train_cfg:
        cfg.train_cfg.max_iters = 6
    else:
        cfg.train_cfg.max_epochs = 2
    if task == 'segmentation':
        cfg.model.decode_head.dropout_ratio = 0
    if task == 'classification':
        cfg.train_dataloader.batch_sampler.sizes = (64,)  # half of other batches is rounded
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.test_dataloader.update(batch_size=2)
    cfg.test_dataloader.dataset.indices = 7
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    cfg.default_hooks.checkpoint = None
    cfg.custom_hooks = []  # EMAHook would test the average
    if task == 'detection':
        cfg.model.test_cfg.update(score_thr=0, max_per_img=1000)
        cfg.test_evaluator.metric_items = ['AR@100', 'AR@300', 'AR@1000']
    return cfg


def train_and_test(task, data, work_dir, weights=None):
    """Train, and test these weights or those that it has then; return losses, weights, metrics."""
    DefaultScope._instance_dict.clear()
    runner = Runner.from_cfg(run_of(task, data, work_dir))
    model = unwrapped(runner.model)
    curve = Curve()
    runner.register_hook(curve)
    runner.train()
    if weights is None:
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        for key in weights:
            if 'reg_convs' in key:
                weights[key].zero_()  # boxes are anchors, of which some are right
    model.load_state_dict(weights)
    return curve.losses, weights, {key: float(value) for key, value in runner.test().items()}


def be_like_one(folder, data):
    """Do together what one process has done before: the same losses, the very same metrics."""
    for task in TASKS:
        losses, weights, metrics = torch.load(folder / f'{task}.pth')
        work_dir = folder / f'{task}_{dist.get_rank()}'
        got = train_and_test(task, data, str(work_dir), weights)
        torch.testing.assert_close(torch.tensor(got[0]), torch.tensor(losses), rtol=1e-3, atol=0)
        assert got[2] == metrics


def be_sharded(folder, data):
    """Train sharded and go on without, and the other way round: the end is that of no sharding."""

    config = folder / f'sharded_{dist.get_rank()}.py'
    config.write_text(f'_base_ = {[str(DEMO_SEG), str(FSDP)]}\n')

    def run(name, sharded, iterations, checkpoint=None):
        DefaultScope._instance_dict.clear()
        cfg = small_run('segmentation', data, folder / name)
        cfg.update(launcher='pytorch', sync_bn=None)
        cfg.update(resume=checkpoint is not None, load_from=checkpoint)
        cfg.train_cfg.update(max_iters=iterations, val_interval=3)
        cfg.train_dataloader.batch_size = 4
        if sharded:
            cfg.sharding = Config.fromfile(config).sharding
        runner = Runner.from_cfg(cfg)
        runner.train()
        parameters = [*runner.model.parameters(), *runner.optim_wrapper.param_groups[0]['params']]
        assert all(hasattr(parameter, 'full_tensor') == sharded for parameter in parameters)
        assert_both_have(runner.model.buffers())  # of BatchNorm, as they were validated
        dist.barrier()
        return last_checkpoint(cfg)

    expected = run('whole', False, 6)
    run('sharded', True, 3)
    for sharded, before in ((False, 'sharded'), (True, 'whole')):
        got = run(f'{before}_{sharded}', sharded, 6, f'{folder}/{before}/iter_3.pth')
        for key in EXACT[:3]:  # what has weights
            torch.testing.assert_close(got[key], expected[key], rtol=1e-3, atol=1e-6)


def start(rank, folder, data):
    """Be one of the two processes, of which each check makes its use."""
    os.environ.update(data_roots(data), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    be_quick(pytest.MonkeyPatch())
    join(rank, folder / 'store')
    sharding = [be_sharded] if torch.__version__ >= '2.6' else []
    for check in (be_like_one, *sharding, train, train_badly):
        check(folder, data)
        dist.barrier()
    dist.destroy_process_group()
    for check in (wait_for_one_that_hangs, wait_for_one_that_is_dead):
        join(rank, folder / check.__name__, timeout=timedelta(seconds=3))
        check(folder / f'{check.__name__}_{rank}')
        dist.destroy_process_group()


def join(rank, store, **settings):
    dist.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2, **settings
    )


def train(folder, data):
    """Train each model for three iterations and compare the ends."""
    for make_config in (retinanet, first_stages):
        work_dir = folder / f'{make_config.__name__}_{dist.get_rank()}'
        work_dir.mkdir()
        _train(make_config(work_dir, data), str(work_dir))
    for path in EXAMPLES:
        _train(small_example(path, data), str(folder / f'{path.stem}_{dist.get_rank()}'))


def train_badly(folder, data):
    """Train where the losses of the second process alone are not finite."""
    work_dir = folder / f'badly_{dist.get_rank()}'
    work_dir.mkdir()
    cfg = first_stages(work_dir, data)
    runner = _train(cfg, str(work_dir / 'one'), SpoilLoss([1]))
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, FiniteHook))
    assert (hook.steps, hook.left_out) == (2, 1)
    cfg = first_stages(work_dir, data)
    cfg.default_hooks.finite.patience = 1
    try:
        _train(cfg, str(work_dir / 'several'), SpoilLoss([1, 2]))
    except InputError as error:
        images = re.findall(r'\d+\.jpg', str(error))
    counts = [None, None]
    dist.all_gather_object(counts, images)
    assert len(images) == 2 and counts[0] == counts[1]  # those of the second process


class EndAt(Hook):
    """Has the second process do something else in an iteration."""

    def __init__(self, end):
        self.end = end

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if dist.get_rank() == 1 and runner.iter == 7:
            self.end()


def wait_for_one_that_hangs(folder):
    says = ('did not answer in 3 seconds', 'has ended')[dist.get_rank()]
    with pytest.raises(InputError, match=rf'another one {says}\..*--resume'):
        build(folder, EndAt(partial(time.sleep, 5)), launcher='pytorch').train()


def wait_for_one_that_is_dead(folder):
    with pytest.raises(InputError, match=r'another one has ended\..*--resume'):
        build(folder, EndAt(partial(os._exit, 0)), launcher='pytorch').train()
    assert find_damage((folder / 'last_checkpoint').read_text()) is None


def _train(cfg, work_dir, *hooks):
    cfg.update(launcher='pytorch', sync_bn=None, work_dir=work_dir)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=10)
    cfg.default_hooks.checkpoint = None
    cfg.log_processor.by_epoch = False
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()

    assert runner.iter == 3 and not runner.model.find_unused_parameters
    optimizer = runner.optim_wrapper.optimizer
    without = [name for name, p in runner.model.named_parameters() if not optimizer.state[p]]
    assert without == []
    assert_both_have(runner.model.parameters())
    return runner


def assert_both_have(tensors):
    vector = torch.cat([tensor.detach().double().flatten() for tensor in tensors])
    both = [torch.empty_like(vector) for _ in range(2)]
    dist.all_gather(both, vector)
    assert torch.isfinite(vector).all() and torch.equal(*both)
