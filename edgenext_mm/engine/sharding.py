"""Training whose weights and optimizer are shared out among the processes."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn as nn
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseAveragedModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import Tensor

from ..errors import InputError
from ..registry import HOOKS
from .hooks import unwrapped

try:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:  # before PyTorch 2.6
    fully_shard = None  # type: ignore[assignment]


@HOOKS.register_module()
class ShardingHook(Hook):
    """Shards the training, by PyTorch's FSDP (``fully_shard``), in the place of DDP.

    For ``sharding`` of a config with the Runner of this package.

    Each process keeps a part of each weight, of its gradient, of its average and of the optimizer's
    state. The network is whole from the forward pass to the backward pass. Checkpoints are the
    ordinary ones: what a run with this hook saves, one without it resumes, in any number of
    processes, and the other way round. Validations and tests are of a whole copy of the model. In
    one process there is nothing to share, and the hook does nothing.

    Raises:
        InputError: before the training starts, if PyTorch is older than 2.6, or if the loss is
            scaled, as AmpOptimWrapper does in float16.

    Example:
        >>> sharding = dict(type='edgenext_mm.ShardingHook')
    """

    # After EMAHook has put the average into the model, before SwitchToDeployHook copies that.
    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        self.sharded: nn.Module | None = None

    def shard(self, runner: Runner) -> None:
        """Shard what the runner has loaded; for all processes, before the training.

        Args:
            runner: the runner, with its optimizer built.
        """
        if self.sharded is not None or get_world_size() == 1:
            return
        if fully_shard is None:
            raise InputError(
                'ShardingHook needs PyTorch 2.6: install it, or leave out strategies/fsdp.py'
            )
        if any(hasattr(wrapper, 'loss_scaler') for wrapper in _wrappers(runner)):
            raise InputError(
                'ShardingHook does not go with a scaled loss: set optim_wrapper.type=OptimWrapper'
            )
        self.sharded = runner.model = unwrapped(runner.model)  # DDP is for whole weights
        names = {parameter: name for name, parameter in self.sharded.named_parameters()}
        mesh = init_device_mesh(get_device(), (get_world_size(),))
        fully_shard(self.sharded, mesh=mesh)
        for average in _averages(runner):
            fully_shard(average.module, mesh=mesh)
            if average.update_buffers:
                average.avg_parameters = average.module.state_dict()
            else:
                average.avg_parameters = dict(average.module.named_parameters())
        parameters = dict(self.sharded.named_parameters())
        of = {parameter: parameters[name] for parameter, name in names.items()}
        for wrapper in _wrappers(runner):
            optimizer = wrapper.optimizer
            for group in optimizer.param_groups:
                group['params'] = [of[parameter] for parameter in group['params']]
            optimizer.state = defaultdict(
                dict,
                {
                    of[parameter]: {key: _like(of[parameter], v) for key, v in state.items()}
                    for parameter, state in optimizer.state.items()
                },
            )

    @contextmanager
    def whole(self, runner: Runner) -> Iterator[None]:
        """Have all that a checkpoint holds whole in the runner; for all processes.

        Args:
            runner: the runner.
        """
        if self.sharded is None:
            yield
            return
        averages = _averages(runner)
        optimizers = [wrapper.optimizer for wrapper in _wrappers(runner)]
        sharded = [average.module for average in averages]
        states = [optimizer.state for optimizer in optimizers]
        runner.model = self._whole(runner, self.sharded)
        for average in averages:
            average.module = self._whole(runner, average.module)
        for optimizer in optimizers:
            optimizer.state = {
                parameter: {key: whole(value) for key, value in state.items()}
                for parameter, state in optimizer.state.items()
            }
        try:
            yield
        finally:
            runner.model = self.sharded
            for average, module in zip(averages, sharded, strict=True):
                average.module = module
            for optimizer, state in zip(optimizers, states, strict=True):
                optimizer.state = state

    def before_val_epoch(self, runner: Runner) -> None:
        """Validate a whole copy: processes may need unequal numbers of forward passes."""
        if self.sharded is not None:
            runner.model = self._whole(runner, self.sharded)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Put the sharded model back."""
        if self.sharded is not None:
            runner.model = self.sharded

    before_test_epoch = before_val_epoch
    after_test_epoch = after_val_epoch

    @staticmethod
    def _whole(runner: Runner, module: nn.Module) -> nn.Module:
        copy = MODELS.build(runner.cfg.model).to(get_device())
        copy.load_state_dict({key: whole(value) for key, value in module.state_dict().items()})
        return copy


def whole(value: Any) -> Any:
    """Return a tensor of which processes have parts as a whole, and anything else as it is.

    Args:
        value: the same one in all processes.

    Example:
        >>> whole(1)
        1
    """
    return value.full_tensor() if fully_shard is not None and isinstance(value, DTensor) else value


def _like(parameter: Any, value: Any) -> Any:
    """Return the state of an optimizer for a parameter, sharded as that is."""
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def _averages(runner: Runner) -> list[BaseAveragedModel]:
    return [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]


def _wrappers(runner: Runner) -> list[OptimWrapper]:
    wrapper = runner.optim_wrapper
    return [*wrapper.values()] if isinstance(wrapper, OptimWrapperDict) else [wrapper]
