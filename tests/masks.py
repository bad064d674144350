"""What the tests of the mask converters share."""

import numpy as np
from PIL import Image


def read_mask(path):
    """Return the class ids of a mask with a palette."""
    with Image.open(path) as image:
        assert image.mode == 'P'
        return np.array(image)


def modification_times(folder):
    """Return the modification time of each file in a folder."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}
