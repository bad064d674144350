"""Hooks."""

import ctypes
import sys
from typing import Any

from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from ..checkpoint.pretrained import check_shapes, fit
from ..deploy import switch_to_deploy
from ..errors import InputError
from ..registry import HOOKS
from .samplers import MultiScaleBatchSampler

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


@HOOKS.register_module()
class NumClassesCheckHook(Hook):
    """Checks, before a loop starts, that the heads have as many classes as its data set.

    Raises:
        InputError: if they do not.
    """

    def before_train(self, runner):
        self._check(runner, runner.train_dataloader)

    def before_val(self, runner):
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner):
        self._check(runner, runner.test_dataloader)

    def _check(self, runner, dataloader):
        classes = dataloader.dataset.metainfo.get('classes', ())
        for name, module in unwrapped(runner.model).named_modules():
            # mmseg's segmentors repeat the number of their head; mmpretrain's losses may have None.
            num_classes = getattr(module, 'num_classes', None) or len(classes)
            if name and classes and num_classes != len(classes) and not name.endswith('rpn_head'):
                raise InputError(
                    f'model.{name} has num_classes={num_classes} and the data set has '
                    f'{len(classes)} classes ({", ".join(classes[:3])}, ...): set '
                    f'model.{name}.num_classes={len(classes)}, or metainfo.classes of the data set'
                )


@HOOKS.register_module()
class ResumeEpochHook(Hook):
    """Lets a run that resumes in the middle of an epoch see only the rest of its batches.

    For training by epochs with a :class:`~edgenext_mm.engine.samplers.MultiScaleBatchSampler`.
    Checkpoints in the middle of an epoch come from a CheckpointHook with ``by_epoch=False``. What
    was accumulated since the last step of the optimizer is lost with a run that stops.

    Raises:
        InputError: if the training data have another batch sampler, or if the checkpoint comes from
            the middle of an epoch with another number of batches.
    """

    progress = None
    begin = 0

    def before_save_checkpoint(self, runner, checkpoint):
        meta = checkpoint['meta']
        done = meta['iter'] - self.begin if meta['epoch'] == runner.epoch else 0
        checkpoint['epoch_progress'] = dict(done=done, batches=len(runner.train_dataloader))

    def after_load_checkpoint(self, runner, checkpoint):
        self.progress = checkpoint.get('epoch_progress')

    def after_train_epoch(self, runner):
        self.begin = runner.iter  # for the best checkpoint, which validation saves before the next

    def before_train_epoch(self, runner):
        batch_sampler, batches = runner.train_dataloader.batch_sampler, len(runner.train_dataloader)
        if not isinstance(batch_sampler, MultiScaleBatchSampler):
            raise InputError(
                "ResumeEpochHook needs batch_sampler=dict(type='edgenext_mm.MultiScaleBatchSampler'"
                ') in train_dataloader: set it, or take the hook out of custom_hooks'
            )
        # The loader was made before the checkpoint told the seed of the run.
        batch_sampler.sampler.seed = runner.seed
        if runner.iter > 0 and self.progress:  # after a resume, not with load_from
            if self.progress['done'] and self.progress['batches'] != batches:
                raise InputError(
                    f'the checkpoint is from the middle of an epoch of {self.progress["batches"]} '
                    f'batches, and an epoch now has {batches}: resume with the batch size and the '
                    'number of processes that it had, or from a checkpoint of the end of an epoch'
                )
            batch_sampler.done = self.progress['done']
        self.progress = None
        self.begin = runner.iter - batch_sampler.done


@HOOKS.register_module()
class PretrainedHook(Hook):
    """Checks that a checkpoint holds the weights of the whole model, and gives them its names.

    mmengine itself loads what happens to fit and logs the rest. For ``load_from`` of any task, of a
    checkpoint of any family, see :func:`edgenext_mm.checkpoint.pretrained.fit`. A checkpoint to
    resume from has exactly the tensors of the model.

    Raises:
        InputError: if weights are missing or have another shape.

    Example:
        >>> default_hooks = dict(pretrained=dict(type='edgenext_mm.PretrainedHook'))
    """

    priority = 'VERY_HIGH'  # before other hooks see the checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        model, name = unwrapped(runner.model), runner._load_from or 'the checkpoint'
        if runner._resume:
            shapes = {key: value.shape for key, value in model.state_dict().items()}
            problem = f'{name} cannot be resumed from'
            check_shapes(checkpoint.get('state_dict', {}), shapes, problem, type(model))
        else:
            training = isinstance(runner.optim_wrapper, OptimWrapper)  # which only train() builds
            checkpoint['state_dict'] = fit(
                model, dict(checkpoint), name, purpose='train' if training else 'test'
            )


@HOOKS.register_module()
class CompileHook(Hook):
    """Does what mmengine's ``compile`` asks for, network by network.

    ``compile=True`` in a config, or a dict of arguments of torch.compile, makes mmengine compile
    the whole training step, with its data structures and logs: that takes minutes of compiling
    again for other numbers of boxes. This hook compiles the forward passes of backbone, neck and
    head instead, for training, validation and tests. It needs PyTorch 2.3. mmseg's heads, which
    call their forward pass by name, and the second stage of detectors stay as they are.
    """

    priority = 'VERY_LOW'  # after SwitchToDeployHook, whose copy is not compiled
    options = None

    def before_run(self, runner):
        self.setting = runner.cfg.get('compile')
        if self.setting not in (None, False):
            self.options = {} if self.setting is True else self.setting
            runner.cfg.compile = False  # for mmengine, which looks at it before the loop starts

    def before_train(self, runner):
        if self.options is not None:
            runner.cfg.compile = self.setting  # for the checkpoints
        self._compile(runner)

    def before_val(self, runner):
        self._compile(runner)

    def before_test_epoch(self, runner):
        self._compile(runner)

    def _compile(self, runner):
        if self.options is None:
            return
        model = unwrapped(runner.model)
        names = ('backbone', 'neck', 'rpn_head', 'bbox_head', 'head')
        names = [name for name in names if getattr(model, name, None) is not None]
        for name in names:
            getattr(model, name).compile(**self.options)
        runner.logger.info('torch.compile compiles ' + ', '.join(names))


@HOOKS.register_module()
class KeepMemoryHook(Hook):
    """Lets training on a CPU use freed memory again, which glibc would return to the system.

    Otherwise all large tensors are in new pages in each iteration, and page faults take up to half
    of its time (docs/performance.md). On a GPU, PyTorch keeps the memory by itself.
    """

    def before_train(self, runner):
        mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform == 'linux' else None
        if mallopt and get_device() == 'cpu':
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, -1)  # never


@HOOKS.register_module()
class SwitchToDeployHook(Hook):
    """Tests a copy of the model that :func:`edgenext_mm.deploy.switch_to_deploy` has switched.

    The model itself stays as it is, for training that goes on.
    """

    priority = 'LOW'  # after EMAHook has put in the averaged weights

    def before_test_epoch(self, runner):
        wrapped = is_model_wrapper(runner.model)  # for several processes
        self.place = (runner.model, 'module') if wrapped else (runner, 'model')
        self.model = getattr(*self.place)
        setattr(*self.place, switch_to_deploy(self.model.eval(), inplace=False))

    def after_test_epoch(self, runner, metrics=None):
        setattr(*self.place, self.model)


def unwrapped(model):
    while hasattr(model, 'module'):  # a wrapper, for several processes or for augmented tests
        model = model.module
    return model
