"""Checkpoint files: where they are, and how they are read without running what is in them."""

import argparse
import hashlib
import os
import os.path as osp
import pickle
import re
import tempfile
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urlsplit

import torch
from mmengine.dist import barrier, is_main_process
from safetensors.torch import load_file

from ..errors import InputError
from .zoo import RELEASES, SCHEME

FOLDER = 'EDGENEXT_CHECKPOINT_DIR'
# What publish_model.py and its kin put into names: eight digits, of which not all look like a date.
_HASH = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8})\.\w+$')


class RefusedError(InputError):
    """A file that holds more than may be read."""


def read_checkpoint(checkpoint):
    """Read a checkpoint: only tensors and plain values.

    Args:
        checkpoint (str): path, URL (http or https), or ``edgenext://`` and a name of
            :data:`~.zoo.RELEASES`. The file of a URL is taken from the folder that the environment
            variable ``EDGENEXT_CHECKPOINT_DIR`` names, or from torch hub's cache, to which it is
            downloaded if it is in neither.

    Returns:
        dict: the content of the file, on the CPU. What training runs log, such as mmengine's
        HistoryBuffer, is replaced by objects without content.

    Raises:
        InputError: if the file cannot be found, downloaded or read.
        RefusedError: if reading the file could run code.
    """
    url = _url(checkpoint)
    if url is None:
        return _read(checkpoint, checkpoint)
    path = _place(url)
    try:
        if is_main_process() and not osp.isfile(path):
            _download(url, path, checkpoint)
    finally:
        barrier()
    if not osp.isfile(path):  # of another machine
        _download(url, path, checkpoint)
    return _read(path, checkpoint)


def _url(checkpoint):
    if checkpoint.startswith(SCHEME):
        name = checkpoint.removeprefix(SCHEME)
        if name not in RELEASES:
            raise InputError(
                f'unknown checkpoint {checkpoint}: choose one of {", ".join(RELEASES)}'
            )
        return RELEASES[name].url
    return checkpoint if checkpoint.startswith(('http://', 'https://')) else None


def _place(url):
    """Return the path of a URL's file: in the user's folder if it is there, or in the cache."""
    name = osp.basename(urlsplit(url).path)
    folder = os.environ.get(FOLDER)
    if folder and osp.isfile(osp.join(folder, name)):
        return osp.join(folder, name)
    cache = osp.join(torch.hub.get_dir(), 'checkpoints')
    if url not in {release.url for release in RELEASES.values()}:  # whose names are their own
        cache = osp.join(cache, hashlib.sha256(url.encode()).hexdigest()[:8])
    return osp.join(cache, name)


def _download(url, path, checkpoint):
    """Download a file, which comes to its place when it is whole and can be read."""
    folder, name = osp.split(path)
    match = _HASH.search(name)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            partial = osp.join(temporary, name)
            torch.hub.download_url_to_file(url, partial, match and match[1])
            # A connection that breaks off leaves a part of the file, without a word.
            _read(partial, checkpoint)
            os.replace(partial, path)
    except RefusedError:
        raise
    except (OSError, HTTPException, RuntimeError, InputError) as error:
        reason = 'what came is not a whole checkpoint' if isinstance(error, InputError) else error
        raise InputError(
            f'cannot download the pretrained weights {url} ({reason}). Put the file, whole, at '
            f'{path} or into a folder that the environment variable {FOLDER} names, or train '
            'without it: --cfg-options model.backbone.init_cfg=None'
        ) from error


def _read(path, checkpoint):
    try:
        if path.endswith('.safetensors'):
            return load_file(path)
        with _stand_ins():
            content = torch.load(path, 'cpu', weights_only=True)
    except OSError as error:
        raise InputError(f'cannot read the checkpoint {checkpoint}: {error}') from error
    except Exception as error:  # a broken file can raise anything
        culprit = re.search(r"(?:GLOBAL|class) '?([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and culprit:
            raise RefusedError(
                f'{checkpoint} is refused: it holds {culprit[1]}, which PyTorch '
                f'{torch.__version__} cannot read without the risk of running code. Keep the '
                'weights alone: torch.save(model.state_dict(), FILE)'
            ) from error
        raise InputError(
            f'{checkpoint} is not a whole checkpoint: get the file {path} again'
        ) from error
    if not isinstance(content, dict):
        raise InputError(f'{checkpoint} holds no state dict, but a {type(content).__name__}')
    return content


class _Inert:
    """Takes the place of an object that is of no use here, and does nothing."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


# mmengine's training runs log in HistoryBuffers, which hold methods and arrays of numpy.
_STAND_INS = [
    type(name, (_Inert,), {'__module__': module})
    for module, name in (
        ('mmengine.logging.history_buffer', 'HistoryBuffer'),
        ('builtins', 'getattr'),
        ('numpy', 'dtype'),
        ('numpy', 'ndarray'),
        ('numpy.core.multiarray', '_reconstruct'),
        ('numpy.core.multiarray', 'scalar'),
        ('numpy._core.multiarray', '_reconstruct'),
        ('numpy._core.multiarray', 'scalar'),
    )
]


@contextmanager
def _stand_ins():
    """Allow what training runs save beside tensors, and nothing that others have allowed.

    The reference's runs save their command line in an argparse.Namespace. PyTorch before 2.4
    cannot be told what to allow.
    """
    if not hasattr(torch.serialization, 'clear_safe_globals'):
        yield
        return
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([argparse.Namespace, *_STAND_INS])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)
