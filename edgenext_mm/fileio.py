"""Storage backends."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mmengine.fileio import LocalBackend, register_backend

#: How the names of files end that are not whole yet.
PARTIAL = '.partial'


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name when they are whole and on the disk, or not at all.

    Several processes may write one file at the same time: the last one that finishes wins.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     AtomicLocalBackend().put(b'weights', f'{folder}/model.pth')
        ...     os.listdir(folder)
        ['model.pth']
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes, as LocalBackend does, by way of a file of another name beside it."""
        partial = Path(f'{filepath}.{uuid4().hex}{PARTIAL}')
        try:
            super().put(obj, partial)
            # Before the new name: after a power cut it would stand for an empty file.
            _flush(partial)
            os.replace(partial, filepath)
            _flush(partial.parent)
        finally:
            with suppress(OSError):  # or it would hide why the file could not be written
                partial.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text as :meth:`put` writes bytes."""
        self.put(obj.encode(encoding), filepath)


def _flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    is_folder = path.is_dir()
    if is_folder and os.name == 'nt':  # which cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not is_folder:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
