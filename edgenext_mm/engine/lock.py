"""One run at a time in a work directory."""

import json
import os
import os.path as osp
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import is_main_process

from ..errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = 'run.lock'


@contextmanager
def lock_folder(folder: str) -> Iterator[None]:
    """Keep other runs out of a folder; for the main process of a run.

    The lock is one of the process itself (POSIX): the system releases it when the process ends in
    whatever way, and workers that are forked do not keep it, as they would one of flock.

    Args:
        folder: the work directory.

    Raises:
        InputError: if another process holds the lock.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, lock_folder(folder):
        ...     os.listdir(folder)
        ['run.lock']
    """
    if fcntl is None or not is_main_process():
        yield
        return
    path = osp.join(folder, _NAME)
    with open(path, 'a+', encoding='utf-8') as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise InputError(
                f'another run trains in {folder}{_holder(file.read())}: wait for it, stop it, or '
                'choose another --work-dir'
            ) from error
        except OSError:  # a file system without locks
            yield
            return
        file.truncate(0)
        json.dump(dict(process=os.getpid(), host=socket.gethostname()), file)
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f' (process {holder["process"]} on {holder["host"]})'
    except (ValueError, KeyError, TypeError):
        return ''
