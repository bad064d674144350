"""DeepLabv3 and SSDLite on an EdgeNeXt as Apple's CVNets saves them.

EdgeNeXt's authors trained both there (https://github.com/apple/ml-cvnets), and attached their
segmentor to issue 5 of the reference repository. The names of the heads are CVNets' own. Those of
the encoder are of a port that was never published: its tensors are found by their order and shapes,
and names are compared where both have one of the reference's words for layers. Two layers of equal
shape whose names have none of these words could be exchanged without being noticed.

A detector there predicts boxes and classes of a map by one convolution after one depthwise
convolution: anchor by anchor, the four deltas, the background, and the classes. Ours has both
convolutions for each, and the background last; the order of anchors and of deltas is the same.
On its last map, of a single cell, CVNets has no depthwise convolution: ours passes the map on.
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
    (r'^ssd_heads\.(\d+)\.proj_layer\.', r'neck.projections.\1.'),
    (r'^extra_layers\.os_64\.', 'neck.extra_layers.0.'),
    (r'^extra_layers\.os_128\.', 'neck.extra_layers.1.'),
    (r'^extra_layers\.os_256\.', 'neck.extra_layers.2.'),
    (r'^extra_layers\.os_-1\.1\.', 'neck.pool.1.'),
    (r'^(neck\..*)\.dw_conv\.', r'\1.depthwise_conv.'),
    (r'^(neck\..*)\.pw_conv\.', r'\1.pointwise_conv.'),
    (r'^((?:decode_head|neck)\..*)\.block\.conv\.', r'\1.conv.'),
    (r'^((?:decode_head|neck)\..*)\.block\.norm\.', r'\1.bn.'),
]
_JOINT = re.compile(r'^ssd_heads\.\d+\.loc_cls_layer\.(?:pw_conv\.)?block\.conv\.')
_DEPTHWISE = re.compile(r'^ssd_heads\.(\d+)\.loc_cls_layer\.dw_conv\.block\.(.*)$')
# Channels and anchors of a cell, by CVNets' settings for MobileViT, which the paper follows.
_MAPS = ((512, 6), (256, 6), (256, 6), (128, 6), (128, 6), (64, 4))
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
    """Return the weights of a segmentor or detector of CVNets, or None if it is none."""
    weights = content.get('model_state_dict', content.get('state_dict', content))
    if not isinstance(weights, Mapping):
        return None
    weights = {str(key).removeprefix('module.'): value for key, value in weights.items()}
    parts = {key.partition('.')[0] for key in weights}
    return weights if 'encoder' in parts and parts & {'seg_head', 'ssd_heads'} else None


def from_cvnets(
    weights: Mapping[str, Tensor], networks: Iterable[Shapes], checkpoint: str
) -> dict[str, Tensor]:
    """Give the tensors of a segmentor or detector of CVNets our names.

    Args:
        weights: what :func:`weights_of_cvnets` returns.
        networks: the shapes of the published networks' tensors, by the names of our classifier.
        checkpoint: what messages call it.

    Returns:
        The same tensors. Those that no name of ours stands for keep their names, as do those by
        which a detector predicts, for :func:`split_predictions`.

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


def predicts_boxes(key: str) -> bool:
    """Return whether a tensor of :func:`from_cvnets` is one by which a detector predicts.

    Example:
        >>> predicts_boxes('ssd_heads.5.loc_cls_layer.block.conv.bias')
        True
    """
    return key.startswith('ssd_heads.')


def split_predictions(weights: Mapping[str, Tensor], checkpoint: str) -> dict[str, Tensor]:
    """Give a detector of CVNets the layers by which ours predicts.

    Args:
        weights: what :func:`from_cvnets` returns.
        checkpoint: what messages call it.

    Returns:
        The tensors of the detector, with those of our head in the place of CVNets'.

    Raises:
        InputError: with both lists, if the convolutions that predict are not those of the paper's
            maps and anchors.

    Example:
        >>> split_predictions({'ssd_heads.0.loc_cls_layer.block.conv.bias': torch.ones(34)}, 'a.pt')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: a.pt: what CVNets' detector predicts by is not what ...
    """
    state = dict(weights)
    joint = {key: state.pop(key) for key in weights if _JOINT.match(key)}
    first = joint.get('ssd_heads.0.loc_cls_layer.pw_conv.block.conv.bias', torch.empty(0))
    # Of an anchor: four deltas, the background and one class or more.
    values = max(6, first.numel() // _MAPS[0][1])
    own = {}
    for level, (channels, anchors) in enumerate(_MAPS):
        layer = 'pw_conv.block' if level < len(_MAPS) - 1 else 'block'
        start = f'ssd_heads.{level}.loc_cls_layer.{layer}.conv.'
        own[f'{start}weight'] = torch.Size([anchors * values, channels, 1, 1])
        own[f'{start}bias'] = torch.Size([anchors * values])
    if {key: value.shape for key, value in joint.items()} != own:
        raise InputError(
            f"{checkpoint}: what CVNets' detector predicts by is not what the paper's maps and "
            f'anchors want (theirs, expected):\n{_side_by_side([*own], [*joint], own, joint)}'
        )
    for key, value in joint.items():
        _, place, *_, kind = key.split('.')
        deltas, scores = value.unflatten(0, (-1, values)).split([4, values - 4], dim=1)
        state[f'bbox_head.reg_convs.{place}.1.{kind}'] = deltas.flatten(0, 1)
        state[f'bbox_head.cls_convs.{place}.1.{kind}'] = scores.roll(-1, dims=1).flatten(0, 1)
    # It passes on the last map's values, which are a ReLU's: another one leaves them as they are.
    kernel = torch.zeros(_MAPS[-1][0], 1, 3, 3)
    kernel[:, :, 1, 1] = 1
    depthwise = {f'{len(_MAPS) - 1}.0.conv.weight': kernel}
    depthwise[f'{len(_MAPS) - 1}.0.conv.bias'] = torch.zeros(len(kernel))
    for match in filter(None, map(_DEPTHWISE.match, weights)):
        depthwise[f'{match[1]}.0.{match[2].replace("norm.", "bn.")}'] = state.pop(match[0])
    for branch in ('reg', 'cls'):
        state |= {f'bbox_head.{branch}_convs.{key}': x for key, x in depthwise.items()}
    # CVNets' convolution after the pooling has no bias.
    return {'neck.pool.1.conv.bias': torch.zeros(len(kernel))} | state


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
