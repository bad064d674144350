"""Optimizers, and the learning rates of layers."""

from functools import cache
from typing import Any

import torch
import torch.nn as nn
from mmengine.optim import DefaultOptimWrapperConstructor

from ..errors import InputError
from ..models.edgenext import EdgeNeXt
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS

_MULTIPLIERS = {
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'dwconv_decay_mult',
    'flat_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
}


@OPTIMIZERS.register_module()
class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, in its fused form where PyTorch has one: on GPUs, and on CPUs from PyTorch
    2.4 on.

    Takes the arguments of torch.optim.AdamW. A group of parameters for which none of ``fused``,
    ``foreach`` and ``differentiable`` is set is fused if its devices and data types allow it. A run
    that resumes takes the form that its own device has, whatever the checkpoint's was.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> optimizer = AdamW(layer.parameters(), lr=1e-3)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as torch.optim.Optimizer does, also for the constructor."""
        super().add_param_group(param_group)
        # Here and not in the constructor, since what comes as an iterator, or with names, is a list
        # of tensors only now.
        group = self.param_groups[-1]
        chosen = (
            group['fused'] is not None or group['foreach'] is not None or group['differentiable']
        )
        if not chosen and all(_has_fused_form(p.device, p.dtype) for p in group['params']):
            group['fused'] = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, of this class or of torch.optim.AdamW."""
        groups = [
            dict(group, fused=own['fused'], foreach=own['foreach'])
            for group, own in zip(state_dict['param_groups'], self.param_groups, strict=False)
        ]
        groups += state_dict['param_groups'][len(groups) :]  # for PyTorch to complain about
        super().load_state_dict(dict(state_dict, param_groups=groups))


@cache
def _has_fused_form(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        weight = torch.zeros(1, device=device, dtype=dtype, requires_grad=True)
        weight.grad = torch.zeros_like(weight)
        torch.optim.AdamW([weight], fused=True).step()
    except RuntimeError:  # NotImplementedError, of devices without the kernel, is one
        return False
    return True


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with learning rates that decay from the head to the stem.

    Each layer of EdgeNeXt (:meth:`EdgeNeXt.get_layer_depth`) learns ``layer_decay_rate`` times as
    fast as the one after it; what is beside the backbone, such as necks and heads, is the last
    layer and learns at ``lr`` (BEiT, arXiv 2106.08254). The other settings of ``paramwise_cfg``
    are mmengine's, and their learning rates decay as well. mmpretrain's
    LearningRateDecayOptimWrapperConstructor does the same for its classifiers alone.

    Args:
        optim_wrapper_cfg: the config of the optimizer wrapper; its optimizer has an ``lr``.
        paramwise_cfg: ``layer_decay_rate``, above 0 and at most 1, and any settings of mmengine's
            DefaultOptimWrapperConstructor.

    Raises:
        InputError: if ``lr`` or ``layer_decay_rate`` is missing, if a setting is none of these, or,
            in the call, if the model has no EdgeNeXt.

    Example:
        >>> constructor = LayerDecayOptimWrapperConstructor(
        ...     dict(optimizer=dict(type='AdamW', lr=1.0)), dict(layer_decay_rate=0.5)
        ... )
        >>> optimizer = constructor(EdgeNeXt('xx_small', out_indices=(0,))).optimizer
        >>> sorted({group['lr'] for group in optimizer.param_groups})  # of the stem and two blocks
        [0.125, 0.25, 0.5]
    """

    def _validate_cfg(self):
        super()._validate_cfg()
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise InputError(
                'optim_wrapper.paramwise_cfg.layer_decay_rate is a number above 0 and at most 1, '
                f'such as 0.9, not {rate!r}'
            )
        unknown = self.paramwise_cfg.keys() - _MULTIPLIERS - {'layer_decay_rate'}
        if unknown:
            raise InputError(
                f'optim_wrapper.paramwise_cfg has {", ".join(sorted(unknown))}, which '
                f'{type(self).__name__} does not know: take it out, or choose from '
                f'layer_decay_rate, {", ".join(sorted(_MULTIPLIERS))}'
            )
        if self.base_lr is None:
            raise InputError(
                f'{type(self).__name__} scales the learning rate: set optim_wrapper.optimizer.lr'
            )

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Add the groups of the parameters of a module to a list; mmengine's method, see there."""
        super().add_params(params, module, prefix, **kwargs)
        if prefix:  # mmengine's method has called this one for a child
            return
        backbones = {
            f'{name}.' if name else '': backbone
            for name, backbone in module.named_modules()
            if isinstance(backbone, EdgeNeXt)
        }
        if not backbones:
            raise InputError(
                f'{type(module).__name__} has no EdgeNeXt, whose layers {type(self).__name__} '
                "counts: set model.backbone.type='edgenext_mm.EdgeNeXt', or take constructor and "
                'layer_decay_rate out of optim_wrapper'
            )
        names = {parameter: name for name, parameter in module.named_parameters()}
        for group in params:
            (parameter,) = group['params']
            depths = (
                backbone.get_layer_depth(names[parameter], start)
                for start, backbone in backbones.items()
            )
            steps = max(num_layers - 1 - layer for layer, num_layers in depths)
            rate = self.paramwise_cfg['layer_decay_rate'] ** steps
            group['lr'] = group.get('lr', self.base_lr) * rate
