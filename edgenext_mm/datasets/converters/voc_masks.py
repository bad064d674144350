"""Masks in the format of Pascal VOC 2012."""

import os
from functools import partial
from io import BytesIO

import numpy as np
from mmengine.utils import track_parallel_progress
from PIL import Image

from ...fileio import AtomicLocalBackend

IGNORE = 255


def _palette():
    """Return VOC's 256 colors: the bits of an id, dealt out to red, green and blue in turn."""
    ids = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colors[:, bit % 3] |= ((ids >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colors


PALETTE = _palette()


def write_mask(path, labels):
    """Write class ids as a PNG with VOC's palette, whole or not at all.

    Args:
        path (Path): file to write.
        labels (ndarray): (height, width) uint8 class ids, 255 where there is none.
    """
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    png = BytesIO()
    image.save(png, 'PNG')
    AtomicLocalBackend().put(png.getvalue(), path)


def write_list(path, names):
    """Write the names of a split, one a line, whole or not at all."""
    AtomicLocalBackend().put(''.join(f'{name}\n' for name in names).encode(), path)


def convert_masks(draw, tasks, processes=None):
    """Write masks in parallel processes, with a progress bar.

    Masks that are there already are kept, so that a run which was stopped goes on.

    Args:
        draw (callable): returns a mask.
        tasks (dict[Path, tuple]): the arguments of ``draw`` by the file to write.
        processes (int): defaults to one per CPU.
    """
    tasks = [task for task in tasks.items() if not task[0].exists()]
    if tasks:
        track_parallel_progress(
            partial(_convert, draw), tasks, processes or os.cpu_count(), keep_order=False
        )


def _convert(draw, task):
    path, arguments = task
    write_mask(path, draw(*arguments))
