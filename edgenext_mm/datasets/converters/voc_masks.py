"""Masks in the format of Pascal VOC 2012."""

from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from ...fileio import AtomicLocalBackend
from ...parallel import parallel_map

#: The id of pixels that are left out of training and evaluation.
IGNORE = 255


def _palette() -> np.ndarray:
    """Return VOC's 256 colors, (256, 3) uint8.

    The bits of an id, from the lowest, are the bits of red, green and blue in turn, from the
    highest.
    """
    ids = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colors[:, bit % 3] |= ((ids >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colors


PALETTE = _palette()


def write_mask(path: Path, labels: np.ndarray) -> None:
    """Write class ids as a PNG with VOC's palette, whole or not at all.

    Args:
        path: file to write.
        labels: (height, width) uint8 class ids, 255 where there is none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_mask(Path(folder, 'mask.png'), np.array([[0, 1, 255]], np.uint8))
        ...     with Image.open(Path(folder, 'mask.png')) as mask:
        ...         print(mask.mode, np.array(mask), np.array(mask.convert('RGB'))[0, 1])
        P [[  0   1 255]] [128   0   0]
    """
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    png = BytesIO()
    image.save(png, 'PNG')
    AtomicLocalBackend().put(png.getvalue(), path)


def write_list(path: Path, names: Iterable[str]) -> None:
    """Write the names of a split, one a line, whole or not at all."""
    AtomicLocalBackend().put(''.join(f'{name}\n' for name in names).encode(), path)


def convert_masks(
    draw: Callable[..., np.ndarray], tasks: dict[Path, tuple], processes: int | None = None
) -> None:
    """Write masks in parallel processes.

    Masks that are there already are kept, so that a run which was stopped goes on.

    Args:
        draw: returns a mask, (height, width) uint8.
        tasks: the arguments of ``draw`` by the file to write.
        processes: how many draw and write. Defaults to one per CPU.

    Raises:
        InputError: if ``draw`` raises one, or if a mask cannot be written.
    """
    missing = [task for task in tasks.items() if not task[0].exists()]
    for _ in parallel_map(partial(_convert, draw), missing, processes, 'masks'):
        pass


def _convert(draw: Callable[..., np.ndarray], task: tuple[Path, tuple]) -> None:
    path, arguments = task
    mask = draw(*arguments)
    try:
        write_mask(path, mask)
    except OSError as error:  # a disk that is full, a name that is too long
        raise InputError(f'{path} cannot be written ({error})') from error
