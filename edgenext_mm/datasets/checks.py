"""What the datasets of all tasks check, so that an error names the file at fault."""

import os
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.image import imfrombytes
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import BaseDataset

from ..errors import InputError
from ..loading import DECODER, SYSTEM_ERRORS


def require_folder(what: str, path: str, remedy: str) -> None:
    """Raise an InputError unless the path is a folder with something in it."""
    if not osp.isdir(path) or not any(os.scandir(path)):
        raise InputError(f'the {what} {path} is missing or empty. {remedy}')


def require_file(what: str, path: str, remedy: str) -> None:
    """Raise an InputError unless the path is a file."""
    if not osp.isfile(path):
        raise InputError(f'the {what} {path} does not exist. {remedy}')


@contextmanager
def coco_errors(path: str | Path) -> Iterator[None]:
    """Turn what reading a broken file of COCO annotations raises into an InputError."""
    try:
        yield
    except (AssertionError, KeyError, TypeError, UnicodeDecodeError, JSONDecodeError) as error:
        raise InputError(f'{path} is not a whole file of COCO annotations') from error


def check_labels(path: str, labels: np.ndarray, num_classes: int, ignore_index: int) -> None:
    """Check the pixels of a mask.

    Args:
        path: file of the mask, for the message.
        labels: what was read from it, (height, width).
        num_classes: ids from 0 to below this number are classes.
        ignore_index: the id of pixels that are left out.

    Raises:
        InputError: if the mask has several channels or other ids.

    Example:
        >>> check_labels('masks/1.png', np.array([[0, 1], [255, 7]]), 2, 255)
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: masks/1.png has the class ids 7, which are beyond the 2
        classes of the dataset (0 to 1; 255 is ignored): ...
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
            f'dataset (0 to {num_classes - 1}; {ignore_index} is ignored): correct the mask, or '
            'list all classes in metainfo.classes'
        )


class CheckedDataset(BaseDataset):
    """A dataset in local files that names the image or mask which cannot be read.

    The base of a task's dataset, before that of the mm library. ``remedy`` says where the data come
    from, for the messages of what is missing.
    """

    remedy = ''

    def check_data_root(self) -> None:
        """Raise an InputError if the data root is no folder."""
        if self.data_root and not osp.isdir(self.data_root):
            raise InputError(f'the data root {self.data_root} is not a folder. {self.remedy}')

    @property
    def listed_in(self) -> str:
        """Where a user takes out an image."""
        return self.ann_file or 'its folder'

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a sample.

        Raises:
            InputError: if the pipeline fails and the sample's image or mask cannot be read. With
                files that can be read, the pipeline's error comes as it is.
        """
        try:
            return super().prepare_data(idx)
        except InputError:
            raise
        # Decoders raise errors of many types, or return None, on which a later step fails.
        except Exception as error:
            for path, loader in _files_read(self.pipeline, self.get_data_info(idx)):
                if fault := _find_fault(path, loader):
                    raise InputError(
                        f'{path} cannot be read as an image ({fault}): restore the file, or take '
                        f'it out of {self.listed_in}'
                    ) from error
            raise


def _files_read(transform: Any, info: dict) -> Iterator[tuple[str, Any]]:
    """Yield the image and the mask of a sample that a transform of mmcv reads, and that transform.

    The decoder of this package names the file itself.
    """
    path = None
    if isinstance(transform, LoadImageFromFile) and transform.imdecode_backend != DECODER:
        path = info.get('img_path')
    elif isinstance(transform, LoadAnnotations) and transform.with_seg:
        path = info.get('seg_map_path')
    if path:
        yield path, transform
    # TestTimeAug holds its transforms as subroutines.
    for step in getattr(transform, 'transforms', getattr(transform, 'subroutines', ())):
        yield from _files_read(step, info)


def _find_fault(path: str, loader: Any) -> Exception | str | None:
    """Return why an image or mask cannot be read, or None if it can be."""
    try:
        content = fileio.get(path, backend_args=loader.backend_args)
    except OSError as error:
        return None if error.errno in SYSTEM_ERRORS else error
    fault = None
    # Pillow too: a decoder that is not installed fails on whole files.
    for decoder in (loader.imdecode_backend, 'pillow'):
        try:
            image = imfrombytes(content, backend=decoder)
        except MemoryError:
            return None
        except Exception as error:
            fault = error
        else:
            return f'{decoder} cannot decode it' if image is None else None
    return fault
