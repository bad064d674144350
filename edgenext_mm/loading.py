"""The loader of images, for the pipelines of all tasks."""

import errno
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile
from mmengine import fileio

from .errors import InputError
from .images import check_color_type, decode_image, unreadable
from .registry import TRANSFORMS

#: The ``imdecode_backend`` that is :func:`~edgenext_mm.images.decode_image`.
DECODER = 'edgenext_mm'
#: Errors of the system in opening a file, which say nothing about the file.
SYSTEM_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@TRANSFORMS.register_module()
class LoadImageFromFile(MMCVLoadImageFromFile):
    """mmcv's LoadImageFromFile with one more decoder, which reads images as a viewer shows them.

    In mmdet and mmseg, whose inferencers look for the name, it is ``type='LoadImageFromFile'``. An
    image that is there as an array already is taken as it is.

    Args:
        imdecode_backend: 'edgenext_mm' for :func:`edgenext_mm.images.decode_image`; with others
            the transform is mmcv's. Defaults to 'cv2', as in mmcv.
        color_type: for 'edgenext_mm' 'color', 'grayscale', or the number of bands to read as they
            are stored. Defaults to 'color'.
        kwargs: the other arguments of mmcv's.

    Raises:
        InputError: with 'edgenext_mm', if the color type is another; in use, if an image cannot be
            read or used, unless ``ignore_empty`` is set.

    Example:
        >>> load = LoadImageFromFile(imdecode_backend='edgenext_mm')
        >>> load(dict(img_path='missing.png'))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.png cannot be read as an image ([Errno 2] No such ...
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.imdecode_backend == DECODER:
            check_color_type(self.color_type)
            if self.file_client_args is not None:
                raise InputError('file_client_args is for other decoders: set backend_args')

    def transform(self, results: dict) -> dict | None:
        """Load the image; see mmcv's transform for the keys."""
        if self.imdecode_backend != DECODER:
            return super().transform(results)
        if 'img' not in results:
            try:
                results['img'] = self._read(results['img_path'])
            except InputError:
                if self.ignore_empty:
                    return None
                raise
        if self.to_float32:
            results['img'] = results['img'].astype(np.float32)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except MemoryError:
            raise
        except Exception as error:  # backends raise errors of many types, as for unknown schemes
            if getattr(error, 'errno', None) in SYSTEM_ERRORS:
                raise
            raise unreadable(path, error) from error
        return decode_image(content, path, self.color_type)


# Their inferencers put another loader in the place of 'LoadImageFromFile', which builds one of this
# name. mmpretrain's take the step out, and read the file themselves.
for _library in ('mmdet', 'mmseg'):
    if find_spec(_library):
        import_module(f'{_library}.registry').TRANSFORMS.register_module(module=LoadImageFromFile)
