"""What the backbone makes of an image: maps of its stages, and channel attention."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from matplotlib.figure import Figure

from ..errors import InputError
from ..models import EdgeNeXt
from ..models.blocks import SDTAEncoder

Maps = dict[str, torch.Tensor]


def draw_features(model: nn.Module, run: Callable[[], Any]) -> Figure:
    """Draw the maps of the backbone over the image that it gets.

    A row for each stage: the mean over the channels of how strong its map is, and of the SDTA
    encoder the attention between channels, head by head along the diagonal, and for each head how
    strong the values are after the attention.

    Args:
        model: an mm model with EdgeNeXt as backbone.
        run: predicts an image by the model.

    Raises:
        InputError: if the backbone is another one.

    Example:
        >>> import torch.nn as nn
        >>> draw_features(nn.ReLU(), lambda: None)
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the model has no EdgeNeXt as backbone, whose stages are drawn
    """
    maps = record(model, run)
    image = _scaled(maps.pop('image')).permute(1, 2, 0).numpy()
    if image.shape[2] != 3:  # bands
        image = image[..., :1].repeat(3, axis=2)
    stages = [name for name in maps if name.startswith('stage')]
    heads = max((len(value) for name, value in maps.items() if name.startswith('heads')), default=0)
    figure = Figure(figsize=(2.4 * (heads + 2), 2.4 * len(stages)), layout='constrained')
    for row, stage in zip(
        figure.subplots(len(stages), heads + 2, squeeze=False), stages, strict=True
    ):
        number = stage[-1]
        for axes in row:
            axes.axis('off')
        _overlay(row[0], stage, image, maps[stage])
        if f'heads {number}' in maps:
            row[1].imshow(maps[f'attention {number}'].numpy(), cmap='viridis')
            row[1].set_title('attention', fontsize=8)
            for i, strength in enumerate(maps[f'heads {number}'], 1):
                _overlay(row[i + 1], f'head {i}', image, strength)
    return figure


def record(model: nn.Module, run: Callable[[], Any]) -> Maps:
    """Return what the backbone computes for the first image; see :func:`draw_features`.

    Returns:
        'image', (channels, H, W), as the backbone gets it; for each stage 'stage 1', (h, w), and,
        if it ends with an SDTA encoder, 'attention 1', (dim, dim), and 'heads 1', (heads, h, w).
    """
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, EdgeNeXt):
        raise InputError('the model has no EdgeNeXt as backbone, whose stages are drawn')
    maps: Maps = {}
    handles = [backbone.register_forward_pre_hook(partial(_keep_image, maps))]
    for number, stage in enumerate(backbone.stages, 1):
        if isinstance(stage[-1], SDTAEncoder):
            xca = stage[-1].xca
            handles.append(
                xca.qkv.register_forward_hook(partial(_keep_attention, maps, number, xca))
            )
        handles.append(stage.register_forward_hook(partial(_keep_stage, maps, number)))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return maps


def _keep_image(maps: Maps, _: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    maps['image'] = inputs[0][0].detach().cpu().float()


def _keep_stage(maps: Maps, number: int, _: nn.Module, inputs: Any, x: torch.Tensor) -> None:
    maps[f'stage {number}'] = x[0].detach().abs().mean(dim=0).cpu().float()


def _keep_attention(
    maps: Maps, number: int, xca: Any, _: nn.Module, inputs: Any, qkv: torch.Tensor
) -> None:
    attn, v = (x[0].detach().cpu().float() for x in xca.attend(qkv))
    maps[f'attention {number}'] = torch.block_diag(*attn)
    strength = (v @ attn.transpose(-2, -1)).norm(dim=-1)
    maps[f'heads {number}'] = strength.unflatten(1, qkv.shape[1:3])


def _scaled(x: torch.Tensor) -> torch.Tensor:
    """Stretch values to the range from 0 to 1."""
    return (x - x.min()) / (x.max() - x.min()).clamp(min=1e-12)


def _overlay(axes: Any, title: str, image: np.ndarray, strength: torch.Tensor) -> None:
    height, width = image.shape[:2]
    heat = F.interpolate(_scaled(strength)[None, None], (height, width), mode='bilinear')[0, 0]
    axes.imshow(image)
    axes.imshow(heat.numpy(), cmap='inferno', alpha=0.6)
    axes.set_title(title, fontsize=8)
