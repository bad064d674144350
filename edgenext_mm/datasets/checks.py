"""What the data sets of all tasks check, so that an error names the file at fault."""

import os
import os.path as osp
from contextlib import contextmanager
from json import JSONDecodeError

import numpy as np
from PIL import Image

from ..errors import InputError


def require_folder(what, path, remedy):
    """Raise an InputError unless the path is a folder with something in it."""
    if not osp.isdir(path) or not any(os.scandir(path)):
        raise InputError(f'the {what} {path} is missing or empty. {remedy}')


def require_file(what, path, remedy):
    """Raise an InputError unless the path is a file."""
    if not osp.isfile(path):
        raise InputError(f'the {what} {path} does not exist. {remedy}')


@contextmanager
def coco_errors(path):
    """Turn what reading a broken file of COCO annotations raises into an InputError."""
    try:
        yield
    except (AssertionError, KeyError, TypeError, UnicodeDecodeError, JSONDecodeError) as error:
        raise InputError(f'{path} is not a whole file of COCO annotations') from error


def check_labels(path, labels, num_classes, ignore_index):
    """Check the pixels of a mask.

    Args:
        path (str): file of the mask, for the message.
        labels (ndarray): what was read from it.
        num_classes (int): ids from 0 to below this number are classes.
        ignore_index (int): the id of pixels that are left out.

    Raises:
        InputError: if the mask has several channels or other ids.
    """
    if labels.ndim != 2:
        raise InputError(
            f'{path} is a colour image, and a mask holds one class id per pixel: convert it to a '
            'PNG with a palette or in grey'
        )
    beyond = labels[(labels >= num_classes) & (labels != ignore_index)]
    if beyond.size:
        ids = ', '.join(map(str, np.unique(beyond)[:5]))
        raise InputError(
            f'{path} has the class ids {ids}, which are beyond the {num_classes} classes of the '
            f'data set (0 to {num_classes - 1}; {ignore_index} is ignored): correct the mask, or '
            'list all classes in metainfo.classes'
        )


class CheckedDataset:
    """Mixin for data sets of mmengine, in local files, that names the file which cannot be read.

    ``remedy`` says where the data come from, for the messages of what is missing.
    """

    remedy = ''

    def check_data_root(self):
        """Raise an InputError if the data root is no folder."""
        if self.data_root and not osp.isdir(self.data_root):
            raise InputError(f'the data root {self.data_root} is not a folder. {self.remedy}')

    @property
    def listed_in(self):
        """Where a user takes out an image."""
        return self.ann_file or 'its folder'

    def prepare_data(self, idx):
        try:
            return super().prepare_data(idx)
        except (OSError, SyntaxError) as error:  # Pillow's word for a broken PNG is SyntaxError
            info = self.get_data_info(idx)
            paths = [info[key] for key in ('img_path', 'seg_map_path') if key in info]
            path = next(filter(_unreadable, paths), paths[0])
            raise InputError(
                f'{path} cannot be read as an image ({error}): restore the file, or take it out '
                f'of {self.listed_in}'
            ) from error


def _unreadable(path):
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError):
        return True
    return False
