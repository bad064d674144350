"""A training run in one of two processes, which import this module; see test_distributed.py."""

import os
import re

import torch
import torch.distributed as dist
from conftest import ROOT, SEG_CONFIGS, data_roots
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from edgenext_mm.engine import FiniteHook
from edgenext_mm.errors import InputError

DEMO_SEG = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'
TINY = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)


def retinanet(folder, data):
    """RetinaNet with FPN, from the lines that the README gives."""
    readme = (ROOT / 'README.md').read_text()
    lines = re.search(r"```python\n(_base_ = 'mmdet::retinanet.*?)```", readme, re.S)[1]
    path = folder / 'retinanet.py'
    path.write_text(lines)
    cfg = Config.fromfile(path)
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


def start(rank, folder, data):
    os.environ.update(data_roots(data), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    work_dir = folder / str(rank)
    work_dir.mkdir()
    return work_dir


def train(rank, make_configs, folder, data):
    """Be one of the two processes: train each model for three iterations and compare the ends."""
    work_dir = start(rank, folder, data)
    for make_config in make_configs:
        _train(make_config(work_dir, data), str(work_dir / make_config.__name__))
    dist.destroy_process_group()


def train_badly(rank, folder, data):
    """Be one of the two processes, of which only the second has losses that are not finite."""
    work_dir = start(rank, folder, data)
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
    dist.destroy_process_group()


def _train(cfg, work_dir, *hooks):
    cfg.update(launcher='pytorch', sync_bn=None, work_dir=work_dir)
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
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
    weights = torch.nn.utils.parameters_to_vector(runner.model.parameters()).detach()
    both = [torch.empty_like(weights) for _ in range(2)]
    dist.all_gather(both, weights)
    assert torch.isfinite(weights).all() and torch.equal(*both)
    return runner
