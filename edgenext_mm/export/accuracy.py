"""Eight bits that hold the metric: layers that lose too much of it stay in float32."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from mmengine.config import Config

from ..errors import InputError
from ..parallel import track
from .api import Exported, Feed, export, training_images, whole_files
from .files import open_session
from .options import Options

_SHARES = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Of the layers that stay in float32, one after the other until the metric holds."""
_IMAGES = 8
"""On how many images the harm of each layer is measured."""


def export_within(
    cfg: Config,
    checkpoint: str,
    options: Options,
    out: str | Path,
    images: Sequence[str],
    judge: Callable[[str], tuple[str, float]],
) -> str:
    """Write a file of eight bits that loses at most ``options.max_drop`` points of the metric.

    If it loses more, the layers that do the most harm stay in float32: a sixteenth of them, an
    eighth, a quarter, a half.

    Args:
        cfg: see :func:`~.api.export`.
        checkpoint: see :func:`~.api.export`.
        options: see :func:`~.api.export`.
        out: see :func:`~.api.export`.
        images: see :func:`~.api.export`.
        judge: tests a checkpoint or a file, and returns the metric's name and its points of 100.

    Returns:
        What the check beside PyTorch found, and what the metric is.

    Raises:
        InputError: as :func:`~.api.export` does, or if the file loses more with half of its layers
            in float32. There is no file then.
    """
    limit = options.max_drop
    assert limit is not None
    metric, aim = judge(checkpoint)
    ranked: list[str] = []
    kept: list[str] = []
    with whole_files(Path(out)) as path:
        for share in _SHARES:
            if share:
                ranked = ranked or _rank(cfg, checkpoint, options, kept)
                harmful = ranked[: ceil(share * len(ranked))]
                options = replace(options, float_layers=(*kept, *harmful))
            report = export(cfg, checkpoint, options, path, images)
            points = judge(str(path))[1]
            figures = f'{metric}: {points:.2f} points, {aim:.2f} in PyTorch'
            if aim - points <= limit:
                left = f'in float32 for it: {", ".join(harmful)}\n' if share else ''
                return f'{report}\n{left}{figures}'
            kept = kept or open_session(path).metadata['float_layers']
        raise InputError(
            f'eight bits lose more than --max-drop {limit:g}, even with half of the '
            f'layers in float32 ({figures}): calibrate on more images (--calibration-images), or '
            'export without --int8. Nothing was written'
        )


def _rank(cfg: Config, checkpoint: str, options: Options, kept: Collection[str]) -> list[str]:
    # The number of boxes after suppression varies.
    exported = Exported(cfg, checkpoint, replace(options, nms=False))
    return rank_layers(exported, training_images(cfg, options), kept)


@torch.no_grad()
def rank_layers(exported: Exported, images: Sequence[str], kept: Collection[str]) -> list[str]:
    """Order the layers of a model by the harm that eight bits do to each of them alone.

    Weights, what is read and what is returned are rounded in PyTorch, as runtimes do it.

    Args:
        exported: the model.
        images: files of images.
        kept: names of layers that stay in float32 anyway.

    Returns:
        Names of layers, the most harmful first.
    """
    inputs = [
        [torch.from_numpy(value) for value in feed.values()]
        for feed in Feed(exported, images[:_IMAGES])
    ]
    layers = {
        name.removeprefix('model.'): module
        for name, module in exported.graph.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    layers = {name: module for name, module in layers.items() if name not in kept}
    ranges: dict[nn.Module, list[torch.Tensor]] = {module: [] for module in layers.values()}

    def note(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        found = torch.stack([torch.stack(x.aminmax()) for x in (args[0], output)])
        ranges[module].append(found)

    handles = [module.register_forward_hook(note) for module in ranges]
    expected = [exported.graph(*each) for each in inputs]
    for handle in handles:
        handle.remove()

    def harm(name: str) -> float:
        module = layers[name]
        limits = torch.stack(ranges[module])
        with _eight_bits(module, limits[..., 0].amin(0), limits[..., 1].amax(0)):
            found = [exported.graph(*each) for each in inputs]
        return sum(_distance(x, y) for x, y in zip(expected, found, strict=True))

    used = [name for name, module in layers.items() if ranges[module]]
    harms = {name: harm(name) for name in track(used, len(used), 'layers in eight bits')}
    return sorted(harms, key=lambda name: -harms[name])


@contextmanager
def _eight_bits(module: Any, low: torch.Tensor, high: torch.Tensor) -> Iterator[None]:
    """Round the weight of a layer, and the values around it, which lie between two limits."""
    weight = module.weight
    step = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
    step = step.reshape(-1, *[1] * (weight.dim() - 1))
    handles = [
        module.register_forward_pre_hook(lambda _, args: (_rounded(args[0], low[0], high[0]),)),
        module.register_forward_hook(lambda _, args, output: _rounded(output, low[1], high[1])),
    ]
    module.weight = nn.Parameter((weight / step).round() * step, requires_grad=False)
    try:
        yield
    finally:
        module.weight = weight
        for handle in handles:
            handle.remove()


def _rounded(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    step = ((high.clamp(min=0) - low.clamp(max=0)) / 255).clamp(min=1e-12)
    zero = (low.clamp(max=0) / step).round()
    return ((x / step).round().clamp(zero, zero + 255)) * step


def _distance(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> float:
    """Return how far outputs are apart: the share of pixels of masks, the norm of other values."""
    total = 0.0
    for x, y in zip(expected, found, strict=True):
        if x.is_floating_point():
            total += float((y - x).norm() / x.norm().clamp(min=1e-12))
        else:
            total += float((y != x).float().mean())
    return total
