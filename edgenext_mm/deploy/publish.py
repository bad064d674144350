"""Checkpoints to give away."""

import hashlib
from io import BytesIO

import torch

from ..checkpoint.files import read_checkpoint
from ..errors import InputError
from ..fileio import AtomicLocalBackend

_META = ('cfg', 'dataset_meta')


def publish(checkpoint: str, out: str) -> str:
    """Write the weights of a training run without what only the run needs.

    What stays is the state dict (the averaged one if the run had EMA), the config and the names of
    the classes; the optimizer, the other weights, logs and schedules go.

    Args:
        checkpoint: checkpoint of tools/train.py.
        out: name of the file to write, ``<out>.pth`` or ``<out>``.

    Returns:
        Path of the file, ``<out>-<first 8 digits of SHA-256>.pth``.

    Raises:
        InputError: if the checkpoint cannot be read or is not that of a training run.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     torch.save({'state_dict': {}, 'optimizer': {}}, f'{folder}/epoch_3.pth')
        ...     path = publish(f'{folder}/epoch_3.pth', f'{folder}/detector')
        >>> '/detector-' in path
        True
    """
    content = read_checkpoint(checkpoint)
    if not isinstance(content.get('state_dict'), dict):
        raise InputError(
            f'{checkpoint} has no state_dict: it is not a checkpoint of tools/train.py'
        )
    meta = {key: value for key, value in (content.get('meta') or {}).items() if key in _META}
    buffer = BytesIO()
    torch.save({'state_dict': content['state_dict'], 'meta': meta}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    path = f'{out.removesuffix(".pth")}-{digest}.pth'
    AtomicLocalBackend().put(buffer.getvalue(), path)
    return path
