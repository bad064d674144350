"""DeepLabv3 with an EdgeNeXt as Apple's CVNets saves it (https://github.com/apple/ml-cvnets).

EdgeNeXt's authors trained their segmentor there and attached it to issue 5 of the reference
repository. The names of the head are CVNets' own. Those of the encoder are of a port that was never
published: its tensors are found by their order and shapes, and names are compared where both have
one of the reference's words for layers. Two layers of equal shape whose names have none of these
words could be exchanged without being noticed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .families import BACKBONE

_ENCODER = 'encoder.'
_HEAD = [
    (
        r'^seg_head\.aspp\.aspp_layer\.convs\.4\.aspp_pool\.conv_1x1\.',
        'decode_head.image_pool.1.',
    ),
    (r'^seg_head\.aspp\.aspp_layer\.convs\.(\d)\.', r'decode_head.aspp_modules.\1.'),
    (r'^seg_head\.aspp\.aspp_layer\.project\.', 'decode_head.bottleneck.'),
    (r'^seg_head\.classifier\.block\.conv\.', 'decode_head.conv_seg.'),
    (r'^(decode_head\..*)\.block\.conv\.', r'\1.conv.'),
    (r'^(decode_head\..*)\.block\.norm\.', r'\1.bn.'),
]
_VARIANCE, _COUNT = '.running_var', '.num_batches_tracked'
# In the order in which the reference implementation registers a block's.
_LAYERS = (
    *('gamma_xca', 'gamma', 'convs', 'pos_embd', 'dwconv', 'norm_xca', 'temperature', 'qkv'),
    *('proj', 'norm', 'pwconv1', 'pwconv2'),
)
_WORDS = {*_LAYERS, 'token_projection'}
_KINDS = {'weight', 'bias', 'running_mean', 'running_var'}
Shapes = Mapping[str, torch.Size]


def weights_of_cvnets(content: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Return the weights of a checkpoint of CVNets' segmentors, or None if it is none."""
    weights = content.get('model_state_dict', content.get('state_dict', content))
    if not isinstance(weights, Mapping):
        return None
    weights = {str(key).removeprefix('module.'): value for key, value in weights.items()}
    parts = {key.partition('.')[0] for key in weights}
    return weights if {'encoder', 'seg_head'} <= parts else None


def from_cvnets(
    weights: Mapping[str, Tensor], networks: Iterable[Shapes], checkpoint: str
) -> dict[str, Tensor]:
    """Give the tensors of a segmentor of CVNets our names.

    Args:
        weights: what :func:`weights_of_cvnets` returns.
        networks: the shapes of the published networks' tensors, by the names of our classifier.
        checkpoint: what messages call it.

    Returns:
        The same tensors. Those that no name of ours stands for keep their names.

    Raises:
        InputError: with both lists, if the encoder's tensors are not those of the network that is
            most like it, in any order in which an EdgeNeXt can be registered.

    Example:
        >>> network = {'backbone.downsample_layers.0.0.weight': torch.Size([2])}
        >>> weights = {'encoder.conv_1.weight': torch.ones(2), 'seg_head.x': torch.ones(1)}
        >>> [*from_cvnets(weights, [network], 'checkpoint.pt')]
        ['backbone.downsample_layers.0.0.weight', 'seg_head.x']
    """
    theirs = [key for key in weights if key.startswith(_ENCODER) and not key.endswith(_COUNT)]
    found = Counter(weights[key].shape for key in theirs)

    def likeness(network: Shapes) -> float:
        shapes = Counter(shape for key, shape in network.items() if not key.endswith(_COUNT))
        return (shapes & found).total() / (shapes | found).total()

    own = max(networks, key=likeness)
    faults = {}
    for ours in _orders(key for key in own if not key.endswith(_COUNT)):
        fault = _first_difference(ours, theirs, own, weights)
        if fault is None:
            break
        faults[fault] = ours
    else:
        fault = max(faults)
        lines = _side_by_side(faults[fault], theirs, own, weights)
        raise InputError(
            f"{checkpoint}: the tensors of CVNets' encoder are not those of this backbone in their "
            f'order; they differ from line {fault + 1} of these on (theirs, ours):\n{lines}'
        )
    names = dict(zip(theirs, ours, strict=False))
    names |= {
        one.removesuffix(_VARIANCE) + _COUNT: other.removesuffix(_VARIANCE) + _COUNT
        for one, other in names.items()
        if one.endswith(_VARIANCE)
    }
    return {names.get(key) or _of_head(key): value for key, value in weights.items()}


def _of_head(key: str) -> str:
    for pattern, replacement in _HEAD:
        key = re.sub(pattern, replacement, key)
    return key


def _orders(keys: Iterable[str]) -> list[list[str]]:
    """Return names of the backbone as the reference registers them, and stage after stage."""

    def place(key: str) -> tuple[bool, int, int, int]:
        part, stage, *rest = key.removeprefix(BACKBONE).split('.')
        if part != 'stages':
            return False, int(stage), -1, 0
        return True, int(stage), int(rest[0]), next(i for i, x in enumerate(_LAYERS) if x in rest)

    keys = [*keys]
    return [sorted(keys, key=place), sorted(keys, key=lambda key: place(key)[1:])]


def _first_difference(
    ours: Sequence[str], theirs: Sequence[str], own: Shapes, weights: Mapping[str, Tensor]
) -> int | None:
    for i, key in enumerate(ours):
        if i == len(theirs) or weights[theirs[i]].shape != own[key]:
            return i
        both = [{*name.split('.')} for name in (key, theirs[i])]
        for words in (_WORDS, _KINDS):
            mine, other = (parts & words for parts in both)
            if mine and other and mine != other:
                return i
    return None


def _side_by_side(
    ours: Sequence[str], theirs: Sequence[str], own: Shapes, weights: Mapping[str, Tensor]
) -> str:
    left = [f'{key} {tuple(weights[key].shape)}' for key in theirs]
    right = [f'{key} {tuple(own[key])}' for key in ours]
    rows = range(max(len(left), len(right)))
    cells = [[side[i] if i < len(side) else '-' for side in (left, right)] for i in rows]
    return '\n'.join(f'{i}  {mine:60}  {other}' for i, (mine, other) in enumerate(cells, 1))
