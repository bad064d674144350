"""Heat maps of what the backbone makes of an image."""

from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from matplotlib.figure import Figure
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from ..errors import InputError
from ..export.api import load_model
from ..models import EdgeNeXt
from ..models.blocks import SDTAEncoder
from ..models.ops import to_tokens
from .drawing import as_picture

CELL = 2.0  # inches of a heat map's longer side


class StageMaps(NamedTuple):
    """How much each place stands out from the rest of the image; see :func:`stage_maps`.

    Attributes:
        stage: in the map of a stage, (h, w).
        heads: in what each head of its attention gives, (heads, h, w); 0 heads without attention.
    """

    stage: torch.Tensor
    heads: torch.Tensor


def stage_maps(backbone: EdgeNeXt, images: torch.Tensor) -> list[StageMaps]:
    """Compute the heat maps of the first image.

    A place of a map is a vector of channels. Its heat is the distance, L2, from the mean vector of
    the map. The attention is between channels and has no places of its own: a head mixes its
    channels of the values, at all places by the same weights, and what it gives is a map again.

    Args:
        backbone: the backbone.
        images: (N, in_channels, H, W), normalized.

    Returns:
        The maps of each stage that is built.

    Example:
        >>> backbone = EdgeNeXt('xx_small').eval()
        >>> for stage, heads in stage_maps(backbone, torch.zeros(1, 3, 64, 96)):
        ...     print(tuple(stage.shape), tuple(heads.shape))
        (16, 24) (0, 16, 24)
        (8, 12) (4, 8, 12)
        (4, 6) (4, 4, 6)
        (2, 3) (4, 2, 3)
    """
    seen: dict[nn.Module, torch.Tensor] = {}

    def keep_input(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        seen[module] = inputs[0][0]

    def keep_output(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        seen[module] = to_tokens(output)[0]

    stages: Any = backbone.stages
    attentions = [stage[-1].xca if isinstance(stage[-1], SDTAEncoder) else None for stage in stages]
    with ExitStack() as hooks, torch.no_grad():
        for stage, xca in zip(stages, attentions, strict=True):
            hooks.enter_context(stage.register_forward_hook(keep_output))
            if xca is not None:
                hooks.enter_context(xca.proj.register_forward_pre_hook(keep_input))
        backbone(images)
    maps = []
    for stage, xca in zip(stages, attentions, strict=True):
        heat = _distances(seen[stage])
        if xca is None:
            maps.append(StageMaps(heat, heat.new_empty(0, *heat.shape)))
        else:
            heads = seen[xca.proj].unflatten(-1, (xca.num_heads, -1))  # (h, w, heads, channels)
            maps.append(StageMaps(heat, _distances(heads).permute(2, 0, 1)))
    return maps


def _distances(tokens: torch.Tensor) -> torch.Tensor:
    """Return the distance of each token (h, w, ..., channels) from their mean."""
    return (tokens - tokens.mean(dim=(0, 1), keepdim=True)).norm(dim=-1)


def draw_features(cfg: Config, checkpoint: str, path: str) -> Figure:
    """Draw the heat maps over an image: a row for each stage, the map of the stage first.

    Each heat map has the colors of its own range.

    Args:
        cfg: of a detector, segmentor or classifier.
        checkpoint: its weights.
        path: file of the image, to which the test pipeline is applied.

    Raises:
        InputError: if the backbone is another one; if a file cannot be read; if the checkpoint
            lacks weights of the model.
    """
    model, _ = load_model(cfg, checkpoint)
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, EdgeNeXt):
        raise InputError(
            f'the model of {cfg.filename} has {type(backbone).__name__} as backbone, and the maps '
            'are those of edgenext_mm.EdgeNeXt: take a config with that as model.backbone.type'
        )
    steps = cfg.test_dataloader.dataset.pipeline
    pipeline = Compose([step for step in steps if 'LoadAnnotations' not in str(step['type'])])
    sample = pipeline(dict(img_path=path, img_id=0))
    images = model.data_preprocessor(pseudo_collate([sample]))['inputs']
    shown = np.asarray(
        as_picture(sample['inputs'].permute(1, 2, 0).squeeze(-1).numpy()).convert('L')
    )
    maps = stage_maps(backbone, images)
    columns = 1 + max(len(heads) for _, heads in maps)
    height, width = (CELL * side / max(shown.shape) for side in shown.shape)
    figure = Figure(figsize=(columns * width, len(maps) * (height + 0.2)), layout='constrained')
    grid = figure.subplots(len(maps), columns, squeeze=False)
    for row, (number, (stage, heads)) in zip(grid, enumerate(maps, 1), strict=True):
        titles = [f'stage {number}', *(f'head {i}' for i in range(1, len(heads) + 1))]
        for axes in row:
            axes.axis('off')
        for axes, title, heat in zip(row, titles, (stage, *heads), strict=False):
            axes.set_title(title, fontsize=8, pad=2)
            axes.imshow(shown, cmap='gray')
            # The data_preprocessor may have padded the image on the right and at the bottom.
            heat = F.interpolate(heat[None, None], images.shape[2:], mode='bilinear')[0, 0].numpy()
            axes.imshow(heat[: shown.shape[0], : shown.shape[1]], cmap='turbo', alpha=0.5)
    return figure
