"""Storage backends."""

import os

from mmengine.fileio import LocalBackend, register_backend


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name when they are whole, or not at all."""

    def put(self, obj, filepath):
        """Write bytes, as LocalBackend does, by way of a file of another name beside it."""
        partial = f'{filepath}.partial'
        super().put(obj, partial)
        os.replace(partial, filepath)
