"""Checkpoint files: where they are, and how they are read without running what is in them."""

import hashlib
import io
import os
import os.path as osp
import pickle
import re
import tempfile
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import torch
from mmengine.dist import barrier, is_main_process
from safetensors.torch import load_file

from ..errors import InputError, mistaken
from .zoo import SCHEME, URLS

FOLDER = 'EDGENEXT_CHECKPOINT_DIR'
# What publish_model.py and its kin put into names: eight digits, of which not all look like a date.
_HASH = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8})\.\w+$')
# How PyTorch names the class or function that it refuses to read.
_REFUSED = re.compile(r"(?:GLOBAL|class) '?([\w.]+)")


class RefusedError(InputError):
    """A file that holds more than may be read."""


def read_checkpoint(checkpoint: str) -> dict[str, Any]:
    """Read a checkpoint: only tensors and plain values.

    Args:
        checkpoint: path, URL (http or https), or ``edgenext://`` and a name of
            :data:`~.zoo.URLS`. The file of a URL is taken from the folder that the environment
            variable ``EDGENEXT_CHECKPOINT_DIR`` names, or from torch hub's cache, to which it is
            downloaded if it is in neither.

    Returns:
        The content of the file, on the CPU. What training runs save beside tensors and plain
        values, such as mmengine's HistoryBuffer, is replaced by objects without content.

    Raises:
        InputError: if the file cannot be found, downloaded or read.
        RefusedError: if reading the file could run code.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix='.pth') as file:
        ...     torch.save({'state_dict': {'weight': torch.ones(2)}, 'epoch': 3}, file.name)
        ...     read_checkpoint(file.name)
        {'state_dict': {'weight': tensor([1., 1.])}, 'epoch': 3}
    """
    url = _url(checkpoint)
    if url is None:
        return _read(checkpoint, checkpoint)
    path = place(url)
    try:
        if is_main_process() and not osp.isfile(path):
            _download(url, path, checkpoint)
    finally:
        barrier()
    if not osp.isfile(path):  # of another machine
        _download(url, path, checkpoint)
    return _read(path, checkpoint)


def find_damage(path: str) -> str | None:
    """Return what is wrong with a checkpoint file that PyTorch has saved, or None if it is whole.

    PyTorch writes the checksum of each part into the file, as the zip format has it, and does not
    look at it when it reads. A file in PyTorch's format from before 1.6 is read instead.

    Args:
        path: a local file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({'weight': torch.ones(2)}, f'{folder}/whole.pth')
        ...     content = open(f'{folder}/whole.pth', 'rb').read()
        ...     with open(f'{folder}/half.pth', 'wb') as file:
        ...         written = file.write(content[: len(content) // 2])
        ...     find_damage(f'{folder}/whole.pth'), find_damage(f'{folder}/half.pth')
        (None, 'it is no zip file, or a part of one')
    """
    try:
        if not zipfile.is_zipfile(path):
            with open(path, 'rb') as file:
                if file.read(2) == b'\x80\x02':  # a pickle of protocol 2
                    read_checkpoint(path)
                    return None
            return 'it is no zip file, or a part of one'
        return _find_damaged_part(path)
    except Exception as error:  # a broken file can raise anything
        return str(error)


def _find_damaged_part(path: str) -> str | None:
    """Return what is wrong with the parts of a zip file, which PyTorch does not look at."""
    with zipfile.ZipFile(path) as archive:
        part = archive.testzip()
    return part and f'the checksum of its part {part} is another'


def _url(checkpoint: str) -> str | None:
    if checkpoint.startswith(SCHEME):
        name = checkpoint.removeprefix(SCHEME)
        if name not in URLS:
            raise InputError(f'unknown checkpoint {checkpoint}: choose one of {", ".join(URLS)}')
        return URLS[name]
    return checkpoint if checkpoint.startswith(('http://', 'https://')) else None


def place(url: str) -> str:
    """Return the path of a URL's file: in the user's folder if it is there, or in the cache."""
    name = osp.basename(urlsplit(url).path)
    folder = os.environ.get(FOLDER)
    if folder and osp.isfile(osp.join(folder, name)):
        return osp.join(folder, name)
    cache = osp.join(torch.hub.get_dir(), 'checkpoints')
    if url not in URLS.values():  # whose names are their own
        cache = osp.join(cache, hashlib.sha256(url.encode()).hexdigest()[:8])
    return osp.join(cache, name)


def _download(url: str, path: str, checkpoint: str) -> None:
    """Download a file, which is moved to its path when it is whole and can be read."""
    folder, name = osp.split(path)
    match = _HASH.search(name)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            partial = osp.join(temporary, name)
            torch.hub.download_url_to_file(url, partial, match and match[1])
            # A connection that breaks off leaves a part of the file without an error.
            _read(partial, checkpoint)
            os.replace(partial, path)
    except (OSError, HTTPException, RuntimeError, InputError) as error:
        if isinstance(error, RefusedError) or _is_out_of_memory(error):
            raise
        reason = 'what came is not a whole checkpoint' if isinstance(error, InputError) else error
        raise InputError(
            f'cannot download the pretrained weights {url} ({reason}). Put the file, whole, at '
            f'{path} or into a folder that the environment variable {FOLDER} names, or train '
            'without it: --cfg-options model.backbone.init_cfg=None'
        ) from error


def _read(path: str, checkpoint: str) -> dict[str, Any]:
    content = read_as_checkpoint(path, _load, checkpoint)
    if not isinstance(content, dict):
        raise InputError(f'{checkpoint} holds no state dict, but a {type(content).__name__}')
    return content


def read_as_checkpoint(path: str, load: Callable[[str], Any], checkpoint: str | None = None) -> Any:
    """Read a local file, with one line on what is wrong if that fails.

    Args:
        path: the file. The format safetensors is told by the content, whatever the name.
        load: reads a file of another format.
        checkpoint: what messages call it. Defaults to the path.

    Raises:
        InputError: if the file cannot be found or read.
        RefusedError: if reading the file could run code.
    """
    checkpoint, path = checkpoint or path, osp.expanduser(path)
    reason = None
    try:
        with open(path, 'rb') as file:
            start = file.read(100)
        reason = mistaken(start) or (zipfile.is_zipfile(path) and _find_damaged_part(path))
        if reason:
            raise ValueError(reason)
        # The length of the header, in eight bytes, and the header, in JSON.
        return load_file(path) if start[4:9] == b'\0\0\0\0{' else load(path)
    except Exception as error:  # a broken file can raise anything
        if _is_out_of_memory(error) or isinstance(error, InputError):
            raise
        if isinstance(error, OSError):
            raise InputError(f'cannot read the checkpoint {checkpoint}: {error}') from error
        culprit = _REFUSED.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and culprit:
            raise RefusedError(
                f'{checkpoint} is refused: it holds {culprit[1]}, which cannot be read without '
                'the risk of running code. Keep the weights alone: '
                'torch.save(model.state_dict(), FILE)'
            ) from error
        reason = reason or _kind_of_zip(path)
        raise InputError(
            f'{checkpoint} is not a whole checkpoint{f" ({reason})" if reason else ""}: get the '
            f'file {path} again'
        ) from error


def _kind_of_zip(path: str) -> str:
    """Return what a zip file is that is no checkpoint, or ''."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [osp.basename(name) for name in archive.namelist()]
    except Exception:  # it is none, or a part of one
        return ''
    if 'data.pkl' not in names:
        return 'it is an archive: unpack it'
    return 'it is a program of TorchScript' if 'constants.pkl' in names else ''


def _load(path: str) -> Any:
    """Load a file by PyTorch's rules or, if they refuse it, without what training runs log.

    PyTorch's list of what else may be read is one for the whole process, and other threads use it:
    it stays as it is. The second try is for zip files alone, since without ``weights_only`` older
    formats can make PyTorch write files.
    """
    with _opened(path) as file:
        try:
            return torch.load(file, 'cpu', weights_only=True)
        except pickle.UnpicklingError as error:
            file.seek(0)
            is_zip = file.read(4) == b'PK\x03\x04'
            if not is_zip or not _REFUSED.search(str(error)):
                raise
        file.seek(0)
        return torch.load(file, 'cpu', pickle_module=_InertPickle, weights_only=False)


def _opened(path: str) -> BinaryIO:
    """Open a checkpoint, or the one in a zip file that is not PyTorch's own, which stays packed."""
    if path.endswith('.zip') and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [x for x in archive.namelist() if x.endswith(('.pt', '.pth')) and x[0] != '_']
            if len(names) > 1:
                raise InputError(f'{path} has several: unpack one ({", ".join(names)})')
            if names:
                return io.BytesIO(archive.read(names[0]))
    return open(path, 'rb')


def _is_out_of_memory(error: Exception) -> bool:
    words = 'allocate memory|not enough memory'  # PyTorch raises a RuntimeError
    return isinstance(error, MemoryError) or re.search(words, str(error)) is not None


class _Inert:
    """Takes the place of an object that is of no use here, and does nothing."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _InertPickle:
    """A pickle module for torch.load that knows tensors and plain values, and imports no more."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module == 'torch._utils' and name in _TENSORS:
                rebuild = getattr(torch._utils, name)
                return lambda *args: rebuild(*args)  # a file can set attributes of functions
            if f'{module}.{name}' in _PLAIN:
                return super().find_class(module, name)
            if f'{module}.{name}' in _INERT:
                return _Inert
            raise pickle.UnpicklingError(f'GLOBAL {module}.{name}')


_TENSORS = ('_rebuild_tensor_v2', '_rebuild_parameter')
_PLAIN = ('collections.OrderedDict', '__builtin__.set', 'torch.Size', 'torch.device')
# The reference's training runs save their command line. mmengine's log in HistoryBuffers, which
# hold methods, and arrays and numbers of numpy.
_INERT = (
    'argparse.Namespace',
    'mmengine.logging.history_buffer.HistoryBuffer',
    '__builtin__.getattr',
    '_codecs.encode',
    'numpy.dtype',
    'numpy.ndarray',
    'numpy.core.multiarray._reconstruct',
    'numpy.core.multiarray.scalar',
    'numpy._core.multiarray._reconstruct',
    'numpy._core.multiarray.scalar',
)
