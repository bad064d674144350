"""An exported file beside PyTorch, on real images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError

#: How far a file may be off: boxes in pixels, masks in pixels that differ (share), scores
#: absolutely, features and logits as a share of the largest value.
TOLERANCES = {
    'boxes': 0.5,
    'mask': 1e-3,
    'scores': 1e-3,
    'labels': 0.0,
    'logits': 1e-3,
    'deltas': 1e-3,
    'features': 1e-4,
}
#: How many times as far a file of this precision may be off. Eight bits are judged by their metric:
#: single boxes may be off without harm to it.
MARGINS = {'float32': 1, 'float16': 20, 'int8': np.inf}
#: Boxes of lower scores are not compared: nobody sees them.
VISIBLE = 0.05


def differences(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, float]:
    """Return by how much each output of a file is off.

    Args:
        expected: the outputs of PyTorch.
        found: those of the file.

    Raises:
        InputError: if outputs have other shapes, or are not finite.

    Example:
        >>> differences({'mask': np.array([0, 1, 1, 1])}, {'mask': np.array([0, 1, 1, 2])})
        {'mask': 0.25}
    """
    if 'labels' in expected:
        both = [_off(*_partners(expected, found)), _off(*_partners(found, expected))]
        return {name: max(one[name] for one in both) for name in expected}
    return _off(expected, found)


def _off(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, float]:
    off = {}
    for name, reference in expected.items():
        values = found[name]
        if values.shape != reference.shape:
            raise InputError(
                f'output {name} of the file has the shape {values.shape} in place of '
                f'{reference.shape}: the format cannot hold this model'
            )
        if not np.isfinite(values).all():
            raise InputError(f'output {name} of the file has values that are not finite')
        if name == 'boxes' and expected['scores'].ndim == 3:
            visible = expected['scores'].max(axis=-1) > VISIBLE
            values, reference = values[visible], reference[visible]
        if name in ('mask', 'labels'):
            off[name] = float((values != reference).mean()) if values.size else 0.0
            continue
        error = np.abs(values.astype(np.float64) - reference).max(initial=0.0)
        if name.startswith(('features', 'logits', 'deltas')):
            error /= max(np.abs(reference).max(), 1e-12)
        off[name] = float(error)
    return off


def _partners(
    expected: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give each visible object that is expected the found one whose box is next to it.

    Objects of equal scores may come in another order.
    """
    visible = expected['scores'] > VISIBLE
    expected = {name: values[visible] for name, values in expected.items()}
    if not len(found['scores']):
        return expected, found
    apart = np.abs(expected['boxes'][:, None] - found['boxes'][None]).max(axis=-1)
    apart[expected['labels'][:, None] != found['labels'][None]] += 1e6
    nearest = apart.argmin(axis=1)
    return expected, {name: values[nearest] for name, values in found.items()}


def check_differences(off: Sequence[dict[str, float]], precision: str) -> str:
    """Return what the differences on several images come to, in one line for each output.

    Args:
        off: what :func:`differences` returned for each image.
        precision: of the file: ``'float32'``, ``'float16'`` or ``'int8'``.

    Raises:
        InputError: if a difference is too large.
    """
    lines, faults = [], []
    for name in off[0]:
        worst = max(image[name] for image in off)
        limit = TOLERANCES[name.partition('_')[0]] * MARGINS[precision]
        unit = {'boxes': 'pixels', 'mask': 'of the pixels', 'labels': 'of the boxes'}.get(name)
        if unit is None:
            unit = 'of 1' if name == 'scores' else 'of the largest value'
        lines.append(f'{name}: off by {worst:.2g} {unit} at most, on {len(off)} images')
        if worst > limit:
            faults.append(f'{name} by {worst:.2g} {unit} (limit {limit:g})')
    if faults:
        raise InputError(f'the file differs from PyTorch: {", ".join(faults)}. Nothing was written')
    return '\n'.join(lines)


def outputs(graph: Any, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the outputs of a graph in PyTorch."""
    import torch

    with torch.no_grad():
        return {
            name: value.numpy() for name, value in zip(graph.names, graph(*inputs), strict=True)
        }
