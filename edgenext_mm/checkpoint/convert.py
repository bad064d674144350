"""Checkpoints for other implementations."""

from io import BytesIO

import safetensors.torch
import torch

from ..engine.backends import AtomicLocalBackend
from ..errors import InputError
from .families import BACKBONE, rename
from .files import read_checkpoint
from .pretrained import arch_of, backbone_shapes, check_shapes, find_weights

SAFETENSORS = 'safetensors'
# Where a family's loader looks for the weights; timm's takes them as they are.
_WRAPPERS = {'edgenext_mm': 'state_dict', 'reference': 'model', 'mmpretrain': 'state_dict'}
_HEAD = {f'head.{layer}.{key}' for layer in ('norm', 'fc') for key in ('weight', 'bias')} | {
    f'head.norm.{key}' for key in ('running_mean', 'running_var', 'num_batches_tracked')
}


def convert(checkpoint, out, to):
    """Write the weights of an EdgeNeXt under the names of another implementation.

    These are the backbone's and, if it has one, the classifier's head's. Other heads, output norms
    and what only training needs are left out.

    Args:
        checkpoint (str): see :func:`~.files.read_checkpoint`; of any family.
        out (str): file to write.
        to (str): a key of :data:`~.families.FAMILIES`, or 'safetensors' for our names in a
            .safetensors file.

    Returns:
        tuple[str, bool]: the arch, and whether there is a head.

    Raises:
        InputError: if the checkpoint cannot be read, or if its backbone is not one of the published
            networks as a whole; if ``to`` and the suffix of ``out`` differ on the format.
    """
    if (to == SAFETENSORS) != out.endswith(f'.{SAFETENSORS}'):
        raise InputError(
            f'{out}: a .safetensors file is written with --to safetensors, and nothing else is'
        )
    from ..models.edgenext import ARCHS  # which imports from this package

    names = {key for arch in ARCHS for key in backbone_shapes(arch)} | _HEAD
    found = find_weights(read_checkpoint(checkpoint), names, checkpoint)
    body = {
        key: value
        for key, value in found.items()
        if key.startswith(BACKBONE) and not key.startswith(f'{BACKBONE}out_norms.')
    }
    arch = arch_of({key: value.shape for key, value in body.items()})
    if arch is None:
        raise InputError(f'{checkpoint} does not hold one of {", ".join(ARCHS)}')
    check_shapes(body, backbone_shapes(arch), f'{checkpoint} is not a whole {arch}')
    head = {key: value for key, value in found.items() if key in _HEAD}
    if to == SAFETENSORS:
        content = safetensors.torch.save(
            {key: value.clone().contiguous() for key, value in (body | head).items()}
        )
    else:
        state = {rename(key, to): value for key, value in (body | head).items()}
        buffer = BytesIO()
        torch.save({_WRAPPERS[to]: state} if to in _WRAPPERS else state, buffer)
        content = buffer.getvalue()
    AtomicLocalBackend().put(content, out)
    return arch, bool(head)
