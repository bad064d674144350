"""Hooks."""

import ctypes
import os
import sys
from functools import cache, partial
from types import NoneType
from typing import Any

import torch
import torch.nn as nn
from mmengine.device import get_device
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner, find_latest_checkpoint

from ..checkpoint.pretrained import check_shapes, fit
from ..datasets.checks import leaves
from ..deploy import switch_to_deploy
from ..errors import InputError
from ..registry import HOOKS

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h
# An RPN tells objects from background, the semantic heads of HTC and SCNet learn from maps with
# classes of their own, and a head for re-identification has one class per person.
_OWN_CLASSES = frozenset(('rpn_head', 'semantic_head', 'reid'))
# What schedulers, and some versions of PyTorch, add to the settings of an optimizer.
_SCHEDULED = {'initial_lr', 'initial_momentum', 'param_names'}


@HOOKS.register_module()
class NumClassesCheckHook(Hook):
    """Checks, before a loop starts, that the heads have as many classes as its dataset.

    Training starts with the dataset for validation as well. For a panoptic dataset, a head has all
    classes or those of things alone. A warning says what is not checked: datasets without
    ``metainfo.classes``, and detectors that read the names of the classes (``language_model``).

    Raises:
        InputError: if they have not, naming all heads that differ.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the datasets for training and validation."""
        self._check(runner, 'train_dataloader')
        if runner.val_loop is not None:
            self._check(runner, 'val_dataloader')

    def before_val(self, runner: Runner) -> None:
        """Check the dataset for validation."""
        self._check(runner, 'val_dataloader')

    def before_test(self, runner: Runner) -> None:
        """Check the dataset for tests."""
        self._check(runner, 'test_dataloader')

    def _check(self, runner: Runner, dataloader: str) -> None:
        model = unwrapped(runner.model)
        # mmseg's segmentors and mmdet's panoptic ones repeat the number of their head; mmpretrain's
        # losses may have None, and its backbones without a classifier -1.
        heads = {
            name: module
            for name, module in model.named_modules()
            if name
            and (getattr(module, 'num_classes', None) or 0) > 0
            and (hasattr(module, 'num_things_classes') or _OWN_CLASSES.isdisjoint(name.split('.')))
        }
        for metainfo in _metainfos(getattr(runner, dataloader).dataset) if heads else ():
            classes = metainfo.get('classes')
            if isinstance(classes, str):
                raise InputError(
                    f'metainfo.classes of the dataset of {dataloader} is the text {classes!r}: '
                    f'write a tuple of names, ({classes!r},)'
                )
            if not classes or hasattr(model, 'language_model'):
                reason = 'the model reads their names' if classes else 'it has no metainfo.classes'
                runner.logger.warning(
                    f'the number of classes of model.{", model.".join(heads)} is not checked '
                    f'against the dataset of {dataloader}: {reason}'
                )
                continue
            things = len(metainfo.get('thing_classes', ()))
            wrong = {
                (name, key): value
                for name, head in heads.items()
                for key, value in _right_numbers(head, len(classes), things).items()
                if getattr(head, key) != value
            }
            if wrong:
                # The head first, which in mmpretrain comes after data_preprocessor.
                keys = sorted(wrong, key=lambda key: 'head' not in key[0])
                has = ', '.join(
                    f'model.{name} has {key}={getattr(heads[name], key)}' for name, key in keys
                )
                settings = ', '.join(f'model.{".".join(key)}={wrong[key]}' for key in keys)
                raise InputError(
                    f'{has} and the dataset of {dataloader} has {len(classes)} classes '
                    f'({", ".join(classes[:3])}, ...{f"; {things} are things" * bool(things)}): '
                    f'set {settings}, or metainfo.classes of the dataset'
                )


@HOOKS.register_module()
class PretrainedHook(Hook):
    """Checks that a checkpoint holds the weights of the whole model, and gives them its names.

    mmengine itself loads what happens to fit and logs the rest. For ``load_from`` of any task, of a
    checkpoint of any family, see :func:`edgenext_mm.checkpoint.pretrained.fit`: layers for another
    number of classes keep their initial weights in training. A checkpoint to resume from has
    exactly the tensors of the model, of its average and of the optimizer.

    Raises:
        InputError: if weights are missing, have another shape or are not finite; if a checkpoint to
            resume from lacks something else of the run.

    Example:
        >>> default_hooks = dict(pretrained=dict(type='edgenext_mm.PretrainedHook'))
    """

    priority = 'VERY_HIGH'  # before other hooks see the checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        model = unwrapped(runner.model)
        name = runner._load_from or find_latest_checkpoint(runner.work_dir) or 'the checkpoint'
        if not isinstance(checkpoint, dict):
            raise InputError(f'{name} holds no state dict, but a {type(checkpoint).__name__}')
        if runner._resume:
            _check_resumable(runner, checkpoint, f'{name} cannot be resumed from')
            return
        training = isinstance(runner.optim_wrapper, OptimWrapper)  # which only train() builds
        checkpoint['state_dict'] = fit(
            model,
            dict(checkpoint),
            name,
            purpose='train' if training else 'test',
            class_layers=partial(_class_layers, runner.cfg.get('model'), model),
        )


def _class_layers(cfg: Any, model: nn.Module) -> set[str]:
    """Return the names of the tensors that have other shapes in a model with one class more."""
    if not isinstance(cfg, dict):  # the Runner was given a model
        return set()
    with torch.random.fork_rng():
        twin = MODELS.build(_with_one_class_more(cfg)).state_dict()
    return {k for k, v in model.state_dict().items() if k not in twin or twin[k].shape != v.shape}


def _with_one_class_more(cfg: Any) -> Any:
    if isinstance(cfg, dict):
        numbers = ('num_classes', 'num_things_classes', 'num_stuff_classes')
        return type(cfg)(
            {
                key: value + 1
                if key in numbers and isinstance(value, int)
                else _with_one_class_more(value)
                for key, value in cfg.items()
            }
        )
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(map(_with_one_class_more, cfg))
    return cfg


def _check_resumable(runner: Runner, checkpoint: dict[str, Any], problem: str) -> None:
    """Raise an error that begins with the problem, unless a checkpoint is of such a run."""
    model = unwrapped(runner.model)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    network: nn.Module = getattr(model, 'backbone', model)
    check_shapes(checkpoint.get('state_dict') or {}, shapes, problem, type(network))
    if 'ema_state_dict' in checkpoint:
        state = checkpoint['ema_state_dict']
        state = {k.removeprefix('module.'): v for k, v in state.items() if k != 'steps'}
        check_shapes(state, shapes, f'{problem}, for the average', type(network))
        if not any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise InputError(
                f'{problem}: it is of a run with averaged weights. Put EMAHook into custom_hooks, '
                'or start a new run from the average, by load_from without resume'
            )
    remedy = 'resume from another one, or start a new run from its weights, by load_from'
    needed = ['meta', 'message_hub', 'optimizer']
    if runner.param_schedulers is not None:
        needed.append('param_schedulers')
    lacks = [key for key in needed if key not in checkpoint]
    if 'meta' not in lacks and not {'epoch', 'iter'} <= checkpoint['meta'].keys():
        lacks.insert(0, 'epoch and iter in meta')
    if lacks:
        raise InputError(
            f'{problem}: it has no {", ".join(lacks)}, as the best checkpoint and published ones. '
            f'{remedy[0].upper()}{remedy[1:]}'
        )
    ours, theirs = runner.optim_wrapper.state_dict(), checkpoint['optimizer']
    if _optimizers(ours) != _optimizers(theirs):
        raise InputError(
            f'{problem}: its optimizer has other settings, or other groups of parameters, than '
            f'optim_wrapper of the config. Restore these, or {remedy.partition(", or ")[2]}'
        )
    schedulers = runner.param_schedulers
    if isinstance(schedulers, list) and len(schedulers) != len(checkpoint['param_schedulers']):
        raise InputError(
            f'{problem}: it has {len(checkpoint["param_schedulers"])} schedulers and '
            f'param_scheduler of the config {len(schedulers)}. Restore these, or '
            f'{remedy.partition(", or ")[2]}'
        )


def _optimizers(state: dict[str, Any]) -> Any:
    """Return what has to be the same in the states of optimizers, of one or several.

    That is how many parameters each group has and which settings, but for switches, in which
    versions of PyTorch differ.
    """
    if 'param_groups' not in state:
        return {k: _optimizers(v) for k, v in state.items() if isinstance(v, dict)}
    return [
        (
            len(group['params']),
            {k for k, v in group.items() if not isinstance(v, (bool, NoneType))} - _SCHEDULED,
        )
        for group in state['param_groups']
    ]


@HOOKS.register_module()
class CompileHook(Hook):
    """Does what mmengine's ``compile`` asks for, network by network.

    ``compile=True`` in a config, or a dict of arguments of torch.compile, makes mmengine compile
    the whole training step, with its data structures and logs: that takes minutes of compiling
    again for other numbers of boxes. This hook compiles the forward passes of backbone, neck and
    head instead, for training, validation and tests. It needs PyTorch 2.3. mmseg's heads, which
    call their forward pass by name, and the second stage of detectors stay as they are.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Compile the networks in place of the training step."""
        if self._compile(runner):
            # mmengine has set a compiled train_step on the model, which nothing has called yet.
            vars(runner.model).pop('train_step', None)

    def before_val(self, runner: Runner) -> None:
        """Compile the networks."""
        self._compile(runner)

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Compile the networks of the model that is tested, which SwitchToDeployHook has copied."""
        if batch_idx == 0:
            self._compile(runner)

    def _compile(self, runner: Runner) -> bool:
        setting = runner.cfg.get('compile')
        if setting in (None, False):
            return False
        model = unwrapped(runner.model)
        names = ['backbone', 'neck', 'rpn_head', 'bbox_head', 'head']
        names = [name for name in names if getattr(model, name, None) is not None]
        for name in names:
            getattr(model, name).compile(**({} if setting is True else setting))
        runner.logger.info('torch.compile compiles ' + ', '.join(names))
        return True


@HOOKS.register_module()
class KeepMemoryHook(Hook):
    """Lets training on a CPU use freed memory again, which glibc would return to the system.

    Otherwise all large tensors are in new pages in each iteration, and page faults take up to half
    of its time (docs/performance.md). On a GPU, PyTorch keeps the memory by itself. Forked
    processes, such as workers that load data, return memory as glibc does by default.
    """

    def before_train(self, runner: Runner) -> None:
        """Set glibc's malloc for the rest of the process."""
        if sys.platform == 'linux' and get_device() == 'cpu':
            _keep_freed_memory()


@cache
def _keep_freed_memory() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, 'mallopt'):  # not glibc
        return

    def return_freed_memory() -> None:
        libc.mallopt(M_MMAP_MAX, 65536)
        # glibc raises its thresholds up to these as a process frees large blocks, but no longer
        # once one of them has been set.
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 64 << 20)
        libc.malloc_trim(0)  # Freed pages of the parent would stay in memory for both.

    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
    os.register_at_fork(after_in_child=return_freed_memory)


@HOOKS.register_module()
class SwitchToDeployHook(Hook):
    """Tests a copy of the model that :func:`edgenext_mm.deploy.switch_to_deploy` has switched.

    The copy is in the place of the runner's model only while the test loop works on a batch. So the
    runner has its own model also after an error, and can go on with training.
    """

    priority = 'LOW'  # after EMAHook has put in the averaged weights

    def before_test_epoch(self, runner: Runner) -> None:
        """Switch a copy of the model, for ``run_iter`` of the test loop."""
        wrapped = is_model_wrapper(runner.model)  # for several processes
        owner, name = (runner.model, 'module') if wrapped else (runner, 'model')
        model = getattr(owner, name)
        deployed = switch_to_deploy(model.eval(), inplace=False)
        loop = runner.test_loop
        self.used = False

        def run_iter(*args: Any, **kwargs: Any) -> Any:
            self.used = True
            try:
                setattr(owner, name, deployed)
                return type(loop).run_iter(loop, *args, **kwargs)
            finally:
                setattr(owner, name, model)

        loop.run_iter = run_iter

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Leave the test loop as it was."""
        loop = runner.test_loop
        del loop.run_iter  # Where an error comes first, the next test replaces it.
        if not self.used:
            runner.logger.warning(
                f'SwitchToDeployHook has no effect: {type(loop).__name__} does not call run_iter'
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model in wrappers for several processes or for augmented tests."""
    while isinstance(module := getattr(model, 'module', None), nn.Module):
        model = module
    return model


def _right_numbers(head: nn.Module, classes: int, things: int) -> dict[str, int]:
    """Return what the attributes of a head should be, in a panoptic dataset if there are things."""
    if things and hasattr(head, 'num_things_classes'):
        return dict(num_things_classes=things, num_stuff_classes=classes - things)
    return dict(num_classes=things if things and head.num_classes != classes else classes)


def _metainfos(dataset: Any) -> list[dict]:
    """Return the metainfo of the datasets that a dataset consists of."""
    return [getattr(leaf, 'metainfo', {}) for leaf in leaves(dataset)]
