"""Parameters and multiply-adds of a model."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope


def input_channels(model: nn.Module) -> int:
    """Return how many channels the images of a model have: those of its first convolution.

    Example:
        >>> import torch.nn as nn
        >>> from edgenext_mm.analysis.complexity import input_channels
        >>> input_channels(nn.Sequential(nn.Conv2d(1, 8, kernel_size=3), nn.Conv2d(8, 8, 1)))
        1
    """
    return next(x.in_channels for x in model.modules() if isinstance(x, nn.Conv2d))


def count_complexity(model: nn.Module, shape: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Count the parameters and multiply-adds of a model and of its parts.

    Args:
        model: an mm model whose forward takes images, such as a detector.
        shape: height and width of the image in pixels.

    Returns:
        Parameters, and multiply-adds for one image as fvcore counts them (one multiply-add is 1),
        for each part with parameters and for the 'model'.

    Example:
        >>> import torch.nn as nn
        >>> from edgenext_mm.analysis.complexity import count_complexity
        >>> model = nn.Sequential(nn.Conv2d(3, 8, kernel_size=1), nn.ReLU())
        >>> count_complexity(model, (10, 20))
        {'0': (32, 4800), 'model': (32, 4800)}
    """
    model.eval()
    device = next(model.parameters()).device
    image = torch.zeros(1, input_channels(model), *shape, device=device)
    counter = FlopCountAnalysis(model, image)
    counter.set_op_handle('aten::scaled_dot_product_attention', _count_attention)
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    multiply_adds = counter.by_module()
    rows = {}
    for name, part in (*model.named_children(), ('model', model)):
        parameters = sum(parameter.numel() for parameter in part.parameters())
        if parameters:
            rows[name] = parameters, multiply_adds['' if part is model else name]
    return rows


@cache
def complexity_of(config: Path, shape: tuple[int, int]) -> tuple[float, float]:
    """Return the parameters in M and the multiply-adds in G of a config's model.

    Args:
        config: file of the config.
        shape: height and width of the image in pixels.
    """
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    parameters, multiply_adds = count_complexity(model, shape)['model']
    return parameters / 1e6, multiply_adds / 1e9


def _count_attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the multiply-adds of PyTorch's attention, which fvcore does not know."""
    (*batch, queries, width), (*_, keys, _), (*_, value_width) = map(get_shape, inputs[:3])
    return math.prod(batch) * queries * keys * (width + value_width)
