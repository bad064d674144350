"""Storage backends."""

import os
from pathlib import Path
from uuid import uuid4

from mmengine.fileio import LocalBackend, register_backend


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name when they are whole, or not at all.

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
        partial = Path(f'{filepath}.{uuid4().hex}.partial')
        try:
            super().put(obj, partial)
            os.replace(partial, filepath)
        finally:
            partial.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text as :meth:`put` writes bytes."""
        self.put(obj.encode(encoding), filepath)
