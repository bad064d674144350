"""Checkpoints of and for other implementations."""

from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from typing import Any, NamedTuple

import safetensors.torch
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ..checkpoint.cvnets import from_cvnets, predicts_boxes, split_predictions, weights_of_cvnets
from ..checkpoint.families import BACKBONE, STEM, rename
from ..checkpoint.files import read_checkpoint
from ..checkpoint.pretrained import arch_of, backbone_shapes, check_shapes, find_weights
from ..configs import PREFIX, config_path
from ..errors import InputError
from ..fileio import AtomicLocalBackend
from ..models.edgenext import ARCHS, EdgeNeXt

SAFETENSORS = 'safetensors'
_DETECTOR = f'{PREFIX}detection/ssdlite_edgenext_small_coco_cvnets.py'
# Where a family's loader looks for the weights; timm's takes them as they are.
_WRAPPERS = {'edgenext_mm': 'state_dict', 'reference': 'model', 'mmpretrain': 'state_dict'}
# The published networks that a family has no class for.
_LACKS = {
    'reference': ('small_rw',),
    'timm': ('_bn_hs',),
    'mmpretrain': ('_bn_hs', 'small_rw'),
}


class Converted(NamedTuple):
    """What :func:`convert` has written.

    Attributes:
        arch: the network.
        has_head: whether it has a classifier's head.
        left_out: names of the tensors that are in the checkpoint alone.
    """

    arch: str
    has_head: bool
    left_out: list[str]


def convert(checkpoint: str, out: str, to: str) -> Converted:
    """Write the weights of an EdgeNeXt under the names of another implementation.

    These are the backbone's and, if it has one, the classifier's head's. Other heads, output norms
    and what only training needs are left out.

    Args:
        checkpoint: see :func:`~.files.read_checkpoint`; of any family.
        out: file to write.
        to: a key of :data:`~.families.FAMILIES`, or 'safetensors' for our names in a .safetensors
            file.

    Raises:
        InputError: if the checkpoint cannot be read, or if its backbone, or its head if it has one,
            is not that of one of the published networks as a whole, for images of whatever
            channels; if the other implementation
            lacks the network; if ``to`` and the suffix of ``out`` differ on the format.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(EdgeNeXt('xx_small').state_dict(), f'{folder}/ours.pth')
        ...     convert(f'{folder}/ours.pth', f'{folder}/timm.pth', 'timm')
        Converted(arch='xx_small', has_head=False, left_out=[])
    """
    _check_suffix(out, to == SAFETENSORS)
    names = {key for arch in ARCHS for key in backbone_shapes(EdgeNeXt, arch)}
    names |= {key for arch in ARCHS for key in _head_shapes(arch, 1)}
    found = find_weights(read_checkpoint(checkpoint), names, checkpoint)
    state = {
        key: value
        for key, value in found.items()
        if key in names
        or (key.startswith(BACKBONE) and not key.startswith(f'{BACKBONE}out_norms.'))
    }
    arch = arch_of({key: value.shape for key, value in state.items()}, EdgeNeXt)
    if arch is None:
        raise InputError(f'{checkpoint} does not hold one of {", ".join(ARCHS)}')
    if arch.endswith(_LACKS.get(to, ())):
        raise InputError(f'{checkpoint} is {arch}, which {to} does not have')
    stem = state.get(STEM)
    channels = stem.shape[1] if stem is not None and stem.ndim == 4 else 3
    expected = backbone_shapes(EdgeNeXt, arch, channels)
    has_head = any(key.startswith('head.fc.') for key in state)
    if has_head:
        expected |= _head_shapes(arch, len(state.get('head.fc.weight', ())))
    else:  # a norm that timm and mmpretrain have without a classifier goes with that
        state = {key: value for key, value in state.items() if key.startswith(BACKBONE)}
    check_shapes(state, expected, f'{checkpoint} is not a whole {arch}', EdgeNeXt)
    left_out = sorted(found.keys() - state.keys())
    if to == SAFETENSORS:
        content = safetensors.torch.save(
            {key: value.clone().contiguous() for key, value in state.items()}
        )
    else:
        state = {rename(key, to): value for key, value in state.items()}
        buffer = BytesIO()
        torch.save({_WRAPPERS[to]: state} if to in _WRAPPERS else state, buffer)
        content = buffer.getvalue()
    AtomicLocalBackend().put(content, out)
    return Converted(arch, has_head, left_out)


def convert_cvnets(checkpoint: str, out: str) -> str:
    """Write a DeepLabv3 or SSDLite of CVNets under our names, for ``load_from`` and the tools.

    Args:
        checkpoint: see :func:`~.files.read_checkpoint`, with what :mod:`~.checkpoint.cvnets` says.
        out: file to write.

    Returns:
        What it is, in words.

    Raises:
        InputError: if the checkpoint cannot be read, or is no DeepLabv3 or SSDLite with one of the
            published networks as a whole.
    """
    _check_suffix(out, False)
    weights = weights_of_cvnets(read_checkpoint(checkpoint))
    if weights is None:
        raise InputError(
            f'{checkpoint} is no DeepLabv3 or SSDLite of CVNets (encoder.*, with seg_head.* or '
            'ssd_heads.*)'
        )
    networks = {arch: backbone_shapes(EdgeNeXt, arch) for arch in ARCHS}
    found = from_cvnets(weights, networks.values(), checkpoint)
    arch = arch_of({key: value.shape for key, value in found.items()}, EdgeNeXt)
    assert arch is not None  # of which from_cvnets found all tensors
    if any(map(predicts_boxes, found)):
        found = split_predictions(found, checkpoint)
        name, said, head = _ssdlite(found, arch)
    else:
        name, said, head = _deeplabv3(found, arch, checkpoint)
    expected = networks[arch] | {key: x.shape for key, x in head.state_dict().items()}
    state = {
        key: x for key, x in found.items() if key in expected or not key.startswith('encoder.')
    }
    check_shapes(state, expected, f'{checkpoint} is not a whole {name} of {arch}', EdgeNeXt)
    buffer = BytesIO()
    torch.save({'state_dict': state}, buffer)
    AtomicLocalBackend().put(buffer.getvalue(), out)
    left_out = f', without {len(found) - len(state)} other tensors of the encoder'
    return f'{name} of {said}' + left_out * (len(found) > len(state))


def _deeplabv3(
    found: Mapping[str, Tensor], arch: str, checkpoint: str
) -> tuple[str, str, nn.Module]:
    """Return a model's name, a text about it, and its parts beside the backbone."""
    _check_library('DeepLabv3', 'mmseg')
    from ..models.deeplabv3 import DeepLabv3Head

    classifier = found.get('decode_head.conv_seg.weight')
    if classifier is None or classifier.ndim != 4:
        raise InputError(f'{checkpoint} is no DeepLabv3 of CVNets (encoder.*, seg_head.classifier)')
    num_classes, channels = classifier.shape[:2]
    with torch.device('meta'):
        head = DeepLabv3Head(ARCHS[arch]['dims'][-1], channels, num_classes=num_classes)
    said = f'{channels} channels and {num_classes} classes on {arch}'
    return 'DeepLabv3', said, nn.ModuleDict({'decode_head': head})


def _ssdlite(found: Mapping[str, Tensor], arch: str) -> tuple[str, str, nn.Module]:
    """Return the same for a detector."""
    _check_library('SSDLite', 'mmdet')
    from mmdet.registry import MODELS

    cfg = Config.fromfile(config_path(_DETECTOR)).model
    cfg.neck.in_channels = ARCHS[arch]['dims'][2:]
    # All anchors of the first map have as many scores: the classes' and the background's.
    deltas, scores = (len(found[f'bbox_head.{x}_convs.0.1.bias']) for x in ('reg', 'cls'))
    cfg.bbox_head.num_classes = num_classes = 4 * scores // deltas - 1
    with DefaultScope.overwrite_default_scope('mmdet'):
        parts = {part: MODELS.build(cfg[part]) for part in ('neck', 'bbox_head')}
    said = f'{num_classes} classes on {arch}, for the settings of {_DETECTOR}'
    return 'SSDLite', said, nn.ModuleDict(parts)


def _check_library(name: str, library: str) -> None:
    if find_spec(library) is None:
        raise InputError(
            f'{name} needs {library}, which is not installed: edgenext-mm doctor says how'
        )


def _check_suffix(out: str, is_safetensors: bool) -> None:
    if is_safetensors != out.endswith(f'.{SAFETENSORS}'):
        raise InputError(
            f'{out}: a .safetensors file is written with --to safetensors, and nothing else is'
        )


def _head_shapes(arch: str, num_classes: int) -> dict[str, torch.Size]:
    settings: dict[str, Any] = ARCHS[arch]
    dim = settings['dims'][-1]
    norm = nn.BatchNorm2d(dim) if settings.get('bn_hs') else nn.LayerNorm(dim)
    head = nn.ModuleDict({'norm': norm, 'fc': nn.Linear(dim, num_classes)})
    return {f'head.{key}': value.shape for key, value in head.state_dict().items()}
