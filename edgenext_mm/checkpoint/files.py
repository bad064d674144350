"""Checkpoint files: where they are, and how they are read without running what is in them."""

import argparse
import os
import os.path as osp
import pickle
import re
from contextlib import nullcontext
from http.client import HTTPException

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import InputError
from .zoo import RELEASES, SCHEME

FOLDER = 'EDGENEXT_CHECKPOINT_DIR'
_HASH = re.compile(r'-([0-9a-f]{8,})\.')  # as publish_model.py and torch.hub have it


def read_checkpoint(checkpoint):
    """Read a checkpoint: only tensors, plain values and what is known to be harmless.

    Args:
        checkpoint (str): path, URL, or ``edgenext://`` and a name of :data:`~.zoo.RELEASES`. For a
            URL the file is taken from the folder ``EDGENEXT_CHECKPOINT_DIR`` or from torch hub's
            cache, to which it is downloaded if it is in neither.

    Returns:
        dict: the content of the file, on the CPU.

    Raises:
        InputError: if the file cannot be found, downloaded or read, or if reading it could run
            code.
    """
    url = _url(checkpoint)
    if url is None:
        return _read(checkpoint)
    name = osp.basename(url)
    cache = osp.join(torch.hub.get_dir(), 'checkpoints', name)
    folder = os.environ.get(FOLDER)
    path = osp.join(folder, name) if folder and osp.isfile(osp.join(folder, name)) else cache
    if not osp.isfile(path):
        if is_main_process():
            _download(url, cache)
        barrier()
    return _read(path)


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_edgenext(filename, map_location=None):
    """Let mmengine load ``edgenext://`` names, for ``load_from`` in a config, say."""
    return read_checkpoint(filename)


def _url(checkpoint):
    if checkpoint.startswith(SCHEME):
        name = checkpoint.removeprefix(SCHEME)
        if name not in RELEASES:
            raise InputError(
                f'unknown checkpoint {checkpoint}: choose one of {", ".join(RELEASES)}'
            )
        return RELEASES[name].url
    return checkpoint if '://' in checkpoint else None


def _download(url, path):
    """Download a file, which gets its name when it is whole and can be read."""
    partial = f'{path}.download'
    match = _HASH.search(osp.basename(url))
    try:
        os.makedirs(osp.dirname(path), exist_ok=True)
        torch.hub.download_url_to_file(url, partial, match and match[1])
        _read(partial)  # a connection that broke off leaves a part of the file, without a word
        os.replace(partial, path)
    except (OSError, HTTPException, RuntimeError, InputError) as error:
        raise InputError(
            f'cannot download the pretrained weights {url} ({_line(error)}). Put the file, whole, '
            f'at {path} or into a folder that the environment variable {FOLDER} names, or train '
            'without it: --cfg-options model.backbone.init_cfg=None'
        ) from error
    finally:
        if osp.isfile(partial):
            os.remove(partial)


def _read(path):
    try:
        if path.endswith('.safetensors'):
            return load_file(path)
        with _harmless():
            return torch.load(path, 'cpu', weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, SafetensorError) as error:
        raise InputError(f'{path} is not a whole checkpoint: {_line(error)}') from error
    except pickle.UnpicklingError as error:
        culprit = re.search(r'(?:GLOBAL|class) ([\w.]+)', str(error))
        if culprit:
            raise InputError(
                f'{path} is refused: it holds {culprit[1]}, and reading that could run code. Keep '
                'the weights alone: torch.save(model.state_dict(), FILE)'
            ) from error
        raise InputError(f'{path} is not a checkpoint: {_line(error)}') from error


def _harmless():
    """Allow what training runs save beside tensors, in a form that does nothing.

    The reference's hold their command line, and mmengine's their logs: HistoryBuffer comes with
    methods, for which stand-ins are read. PyTorch before 2.5 cannot be told so and refuses these.
    """
    if not hasattr(torch.serialization, 'safe_globals'):
        return nullcontext()
    numpy = np._core if hasattr(np, '_core') else np.core
    return torch.serialization.safe_globals(
        [
            argparse.Namespace,
            (_Inert, 'mmengine.logging.history_buffer.HistoryBuffer'),
            (_nothing, 'builtins.getattr'),
            numpy.multiarray._reconstruct,
            numpy.multiarray.scalar,
            (numpy.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
            (numpy.multiarray.scalar, 'numpy.core.multiarray.scalar'),
            np.ndarray,
            np.dtype,
            *(type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'u1', 'b1', 'U1')),
        ]
    )


class _Inert:
    """Takes the place of an object whose state is of no use here."""

    def __setstate__(self, state):
        pass


def _nothing(*args):
    return None


def _line(error):
    return str(error).strip().split('\n')[0]
