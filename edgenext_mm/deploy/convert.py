"""Checkpoints of and for other implementations."""

from importlib.util import find_spec
from io import BytesIO
from typing import Any, NamedTuple

import safetensors.torch
import torch
import torch.nn as nn

from ..checkpoint.cvnets import from_cvnets, weights_of_cvnets
from ..checkpoint.families import BACKBONE, STEM, rename
from ..checkpoint.files import read_checkpoint
from ..checkpoint.pretrained import arch_of, backbone_shapes, check_shapes, find_weights
from ..errors import InputError
from ..fileio import AtomicLocalBackend
from ..models.edgenext import ARCHS, EdgeNeXt

SAFETENSORS = 'safetensors'
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
    """Write a DeepLabv3 of CVNets under our names, for ``load_from`` and ``tools/test.py``.

    Args:
        checkpoint: see :func:`~.files.read_checkpoint`, with what :mod:`~.checkpoint.cvnets` says.
        out: file to write.

    Returns:
        What it is, in words.

    Raises:
        InputError: if the checkpoint cannot be read, or is no DeepLabv3 with one of the published
            networks as a whole.
    """
    _check_suffix(out, False)
    if find_spec('mmseg') is None:
        raise InputError(
            'DeepLabv3 needs mmseg, which is not installed: edgenext-mm doctor says how'
        )
    from ..models.deeplabv3 import DeepLabv3Head

    weights = weights_of_cvnets(read_checkpoint(checkpoint))
    classifier = (weights or {}).get('seg_head.classifier.block.conv.weight')
    if weights is None or classifier is None or classifier.ndim != 4:
        raise InputError(f'{checkpoint} is no DeepLabv3 of CVNets (encoder.*, seg_head.classifier)')
    networks = {arch: backbone_shapes(EdgeNeXt, arch) for arch in ARCHS}
    found = from_cvnets(weights, networks.values(), checkpoint)
    arch = arch_of({key: value.shape for key, value in found.items()}, EdgeNeXt)
    assert arch is not None  # of which from_cvnets found all tensors
    num_classes, channels = classifier.shape[:2]
    with torch.device('meta'):
        head = DeepLabv3Head(ARCHS[arch]['dims'][-1], channels, num_classes=num_classes)
    expected = networks[arch]
    expected |= {f'decode_head.{key}': x.shape for key, x in head.state_dict().items()}
    state = {
        key: x for key, x in found.items() if key in expected or not key.startswith('encoder.')
    }
    check_shapes(state, expected, f'{checkpoint} is not a whole DeepLabv3 of {arch}', EdgeNeXt)
    buffer = BytesIO()
    torch.save({'state_dict': state}, buffer)
    AtomicLocalBackend().put(buffer.getvalue(), out)
    left_out = f', without {len(found) - len(state)} other tensors of the encoder'
    said = f'DeepLabv3 of {channels} channels and {num_classes} classes on {arch}'
    return said + left_out * (len(found) > len(state))


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
