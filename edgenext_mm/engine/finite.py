"""Training among finite numbers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import Any

import torch
import torch.nn as nn
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from ..errors import InputError
from ..registry import HOOKS
from .hooks import unwrapped
from .sharding import whole

#: What of a run a checkpoint holds.
_STATE = ('in_a_row', 'left_out', 'steps', 'has_gradient', 'has_rate', 'batches')


def _total_norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]).norm()


# PyTorch has its own from 2.6 on.
get_total_norm = getattr(torch.nn.utils, 'get_total_norm', _total_norm)


@HOOKS.register_module()
class FiniteHook(Hook):
    """Keeps what is not finite out of weights, averages and checkpoints, and names its images.

    Where a loss or a gradient is infinite or not a number, no process makes the optimizer's step,
    EMAHook leaves the iteration out, and the buffers of the model, such as BatchNorm's statistics,
    are again what they were. The log names the images of the batch, in all processes. Where
    gradients are accumulated, all batches since the last step are left out together. Where the
    loss is scaled, as AmpOptimWrapper does in float16, gradients that are too large are for the
    scaler to deal with, down to a scale of 1.

    Weights and averages are looked at before a checkpoint or a validation: those that are not
    finite end the run, and the checkpoints before stay as they are. So does a run that learns
    nothing: one whose gradients are all 0 in its first epoch, or whose learning rate is 0
    throughout.

    Args:
        patience: how many steps in a row may be left out; with one more the run ends. Defaults
            to 4.

    Raises:
        InputError: when the run ends so; before it starts, if all parameters are frozen, or if what
            clips the gradients is not above 0.

    Example:
        >>> default_hooks = dict(finite=dict(type='edgenext_mm.FiniteHook'))
    """

    # Before the hooks that log the losses of the iteration and average its weights.
    priority = 'HIGHEST'

    def __init__(self, patience: int = 4) -> None:
        self.patience = patience
        self.resumed: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Get between the gradients and the step of the optimizer."""
        self.in_a_row = self.left_out = self.steps = 0
        self.has_gradient = self.has_rate = self.is_bad = False
        self.batches: list[tuple[list[str], dict[str, Tensor]]] = []  # since the last step
        resumed, self.resumed = self.resumed, {}
        for name in _STATE:
            setattr(self, name, resumed.get(name, getattr(self, name)))
        self.model = unwrapped(runner.model)
        buffers = dict(self.model.named_buffers())
        self.constants = {key for key, value in buffers.items() if not _is_finite(value)}
        self.buffers = {k: v for k, v in buffers.items() if k not in self.constants and v.numel()}
        self.values = self._copy_buffers()
        for value, saved in zip(self.values, resumed.get('values', ()), strict=False):
            value.copy_(saved)
        self.handle = self.model.register_forward_hook(self._keep_losses)
        wrapper = runner.optim_wrapper
        self.wrappers = [*wrapper.values()] if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        for wrapper in self.wrappers:
            if not any(parameter.requires_grad for parameter in _parameters(wrapper)):
                raise InputError(
                    'all parameters of the model are frozen, and there is nothing to train: lower '
                    'model.backbone.frozen_stages'
                )
            for name, value in (getattr(wrapper, 'clip_grad_kwargs', None) or {}).items():
                if name in ('max_norm', 'clip_value') and value <= 0:
                    raise InputError(
                        f'optim_wrapper.clip_grad has {name}={value}, which turns gradients to 0 '
                        'or around: set a number above 0'
                    )
            wrapper.step = partial(self._step, wrapper, wrapper.step)
        self.averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        for hook in self.averages:
            hook.after_train_iter = self._unless_bad(hook.after_train_iter)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any | None = None
    ) -> None:
        """Note the images of the batch."""
        self.is_bad = False
        self.batches.append(([*_image_paths(data_batch)], {}))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Tell of a step that was left out; end the run after too many.

        Raises:
            InputError: see the class.
        """
        is_due = any(wrapper.should_update() for wrapper in self.wrappers)
        if self.is_bad:
            self.in_a_row += 1
            self.left_out += 1
            text = f'iteration {runner.iter + 1}: {self._culprits()}'
            for buffer, value in zip(self.buffers.values(), self.values, strict=True):
                buffer.copy_(value)
            if self.in_a_row > self.patience:
                self._check_weights(runner)
                raise InputError(
                    f'{text}. No step has been made in {self.in_a_row} iterations in a row: look '
                    'at boxes, masks and pixels of these images (tools/check_dataset.py), lower '
                    'optim_wrapper.optimizer.lr, or set optim_wrapper.clip_grad'
                )
            runner.logger.warning(
                f'{text}. The step is left out, {self.in_a_row} of at most {self.patience} in a row'
            )
            for key in [key for key, value in (outputs or {}).items() if not _is_finite(value)]:
                del outputs[key]  # type: ignore[union-attr]  # or the log's means would be lost
        elif is_due:
            self.in_a_row = 0
        if is_due:
            self.batches.clear()
        if any(_saves_now(hook, runner) for hook in runner.hooks):
            self._check_weights(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Check what the epoch has brought, before it is saved.

        Raises:
            InputError: see the class.
        """
        if self.left_out:
            runner.logger.warning(
                f'{self.left_out} steps have been left out until now, and {self.steps} made: the '
                'log names the images'
            )
        self._check_learning(runner)
        self._check_weights(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Check the weights, which may be saved as the best ones.

        Raises:
            InputError: see the class.
        """
        if hasattr(self, 'model'):  # in a training run
            self._check_learning(runner)
            self._check_weights(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check all that comes into a checkpoint, whoever saves it.

        Raises:
            InputError: see the class.
        """
        if hasattr(self, 'model'):
            self._check_weights(runner)
            _check('the checkpoint', _tensors({**checkpoint, 'message_hub': None}), self.constants)
            if 'optimizer' in checkpoint:
                state = {name: getattr(self, name) for name in _STATE}
                if self.batches:  # in between two steps
                    state['values'] = [value.cpu() for value in self.values]
                checkpoint['finite'] = state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read how many steps have been left out, for a run that goes on."""
        self.resumed = checkpoint.get('finite', {}) if runner._resume else {}

    def after_train(self, runner: Runner) -> None:
        """Check that the run has learned; leave model, optimizer and hooks as they were.

        Raises:
            InputError: see the class.
        """
        self._check_learning(runner)
        if self.steps and not self.has_rate:
            raise InputError(
                'the learning rate was 0 throughout, and the model has learned nothing: raise '
                'optim_wrapper.optimizer.lr, or look at param_scheduler'
            )
        self.handle.remove()
        for wrapper in self.wrappers:
            vars(wrapper).pop('step', None)
        for hook in self.averages:
            vars(hook).pop('after_train_iter', None)

    def _keep_losses(self, model: nn.Module, inputs: Any, outputs: Any) -> None:
        """Keep the losses, as a forward hook of the model."""
        if model.training and isinstance(outputs, dict) and self.batches:
            losses = self.batches[-1][1]
            for key, value in outputs.items():
                values = [v.detach().flatten() for v in _as_list(value) if isinstance(v, Tensor)]
                if 'loss' in key and values:
                    losses[key] = torch.cat(values)

    def _step(self, wrapper: OptimWrapper, step: Callable, **kwargs: Any) -> None:
        """Make a step of the optimizer, in the place of its wrapper's ``step``, or leave it out."""
        gradients = [p.grad for p in _parameters(wrapper) if p.grad is not None]
        losses = [value for _, losses in self.batches for value in losses.values()]
        values = self._copy_buffers()
        sound = _all_finite(losses + values)
        norm = whole(get_total_norm(gradients)) if gradients else sound.float() * 0
        # All that is asked of the device, in one answer.
        still = ~norm.isfinite() | (norm == 0)
        facts = torch.stack([sound.to(norm.device), norm.isfinite(), still]).float()
        all_reduce(facts, 'min')  # the losses are those of this process
        is_sound, is_finite, is_still = map(bool, facts.tolist())
        if is_sound and not is_finite and hasattr(wrapper, 'loss_scaler'):
            is_finite = wrapper.loss_scaler.get_scale() >= 1
            is_still = not all(map(_is_finite, gradients))  # or their norm alone is too large
        if not (is_sound and is_finite):
            self.is_bad = True
            return
        step(**kwargs)
        self.steps += 1
        self.has_gradient |= not is_still
        self.has_rate |= any(group['lr'] != 0 for group in wrapper.param_groups)
        self.values = values

    def _unless_bad(self, call: Callable) -> Callable:
        @wraps(call)
        def call_unless_bad(*args: Any, **kwargs: Any) -> None:
            if not self.is_bad:
                call(*args, **kwargs)

        return call_unless_bad

    def _culprits(self) -> str:
        """Return a text on the losses and images of the batches since the last step."""
        found = []
        for images, losses in self.batches:
            bad = {key: value[~value.isfinite()] for key, value in losses.items()}
            names = [f'{key}={value[0].item()}' for key, value in bad.items() if len(value)]
            found.append((images, names))
        if not any(names for _, names in found):
            names = [key for key, value in self.buffers.items() if not _is_finite(value)]
            names = [f'{key} (a buffer) is not finite' for key in names[:1]]
            found = [(images, names) for images, _ in found]
        found = [entry for part in all_gather_object(found) for entry in part]
        # Gradients alone can be bad, and then all of the batches are suspect.
        found = [entry for entry in found if entry[1]] or found
        images = [image for images, _ in found for image in images]
        names = [name for _, names in found for name in names]
        what = ', '.join(dict.fromkeys(names)) or 'the gradients are not finite'
        return f'{what} in the batch of {", ".join(images) or "images without a path"}'

    def _check_learning(self, runner: Runner) -> None:
        if self.steps and not self.has_gradient:
            raise InputError(
                f'all gradients of {self.steps} iterations were 0, and the model has learned '
                'nothing: there is no object, or no pixel with a class, in what the training sees. '
                'tools/check_dataset.py shows the data'
            )
        if self.left_out and not self.steps:
            raise InputError(
                f'all {self.left_out} steps were left out, since losses or gradients were not '
                'finite, and the model has learned nothing: the log names the images'
            )

    def _check_weights(self, runner: Runner) -> None:
        _check('the model', unwrapped(runner.model).state_dict(), self.constants)
        for hook in self.averages:
            _check('the averaged model', hook.ema_model.module.state_dict(), self.constants)

    def _copy_buffers(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self.buffers.values()]


def _check(what: str, tensors: Mapping[str, Any], constants: Iterable[str]) -> None:
    """Raise an InputError unless all are finite, but for some constant ones."""
    values = {
        key: value
        for key, value in tensors.items()
        if isinstance(value, Tensor) and not key.endswith(tuple(constants))
    }
    finite = [whole(value.isfinite().all()) for value in values.values() if value.numel()]
    if not finite or torch.stack([flag.cpu() for flag in finite]).all():
        return
    names = [key for key, value in values.items() if not _is_finite(value)]
    raise InputError(
        f'{len(names)} of {len(values)} tensors of {what} are not finite '
        f'({", ".join(names[:3])}{", ..." * (len(names) > 3)}), and nothing is saved: the '
        'checkpoints before are as they were. Resume from one with a lower '
        'optim_wrapper.optimizer.lr'
    )


def _saves_now(hook: Hook, runner: Runner) -> bool:
    """Tell whether a hook will save a checkpoint after this iteration."""
    return (
        isinstance(hook, CheckpointHook)
        and not hook.by_epoch
        and (
            hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
            or (hook.save_last and hook.is_last_train_iter(runner))
        )
    )


def _parameters(wrapper: OptimWrapper) -> Iterator[Tensor]:
    return (p for group in wrapper.param_groups for p in group['params'])


def _as_list(value: Any) -> list:
    return [*value] if isinstance(value, (list, tuple)) else [value]


def _all_finite(tensors: list[Tensor]) -> Tensor:
    """Return one value for all of them, without waiting for the device."""
    flat = [tensor.flatten() for tensor in tensors if tensor.is_floating_point()]
    return torch.cat(flat).isfinite().all() if flat else torch.tensor(True)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or bool(whole(value.isfinite().all()))


def _tensors(content: Any, name: str = '') -> dict[str, Tensor]:
    """Return all tensors in dicts and lists, by name."""
    if isinstance(content, Tensor):
        return {name: content}
    if isinstance(content, (list, tuple)):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        return {}
    prefix = f'{name}.' if name else ''
    return {
        k: v for key, part in content.items() for k, v in _tensors(part, f'{prefix}{key}').items()
    }


def _image_paths(batch: Any) -> Iterator[str]:
    """Find the paths of the images of a batch, as a dataset gives it to a model."""
    if isinstance(batch, dict):
        batch = [*batch.values()]
    if isinstance(batch, (list, tuple)):
        for part in batch:
            yield from _image_paths(part)
    elif path := getattr(batch, 'img_path', None):
        yield str(path)
