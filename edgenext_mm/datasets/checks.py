"""What the datasets of all tasks check, so that an error names the file at fault."""

import difflib
import gc
import os
import os.path as osp
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from mmcv.image import imfrombytes
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger

from ..errors import InputError
from ..images import image_size_of
from ..loading import DECODER, SYSTEM_ERRORS
from .faults import has_faults, refuse
from .files import composed
from .report import EMPTY_CLASSES, OTHER_CLASSES, Report, names_of
from .settings import check_settings


def require_folder(what: str, path: str, remedy: str) -> None:
    """Raise an InputError unless the path is a folder with something in it."""
    if not osp.isdir(path) or not any(os.scandir(path)):
        raise InputError(f'the {what} {path} is missing or empty. {remedy}')


def check_regular(path: str | Path) -> None:
    """Raise an InputError if something else than a file, such as a pipe, has a file's name.

    To read a pipe takes until something is written into it.
    """
    if osp.exists(path) and not osp.isfile(path) and not osp.isdir(path):
        raise InputError(f'{path} is no regular file: put an image there, or remove it')


def require_file(what: str, path: str, remedy: str) -> None:
    """Raise an InputError unless the path is a file."""
    if not path:
        raise InputError(f'the {what} has no path: set ann_file of the dataset')
    if not osp.isfile(path):
        fault = 'is a folder' if osp.isdir(path) else 'does not exist'
        raise InputError(f'the {what} {path} {fault}. {remedy}')


def read_text(path: str | Path) -> str:
    """Read a text file.

    Raises:
        InputError: if it cannot be opened, or is neither in UTF-8, with or without a byte order
            mark, nor in UTF-16 with one.
    """
    try:
        content = Path(path).read_bytes()
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not in UTF-8 ({error}): save it as UTF-8') from error
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error}): restore the file') from error


def encoding_of(content: bytes) -> str:
    """Return the encoding that the byte order mark of a text says, or UTF-8."""
    return 'utf-16' if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else 'utf-8-sig'


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a text file that are not blank, without the blanks around them."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def check_size(
    path: str, shape: tuple[int, int], annotated: tuple[int, int], listed_in: str = 'the data'
) -> None:
    """Compare the size of an image with what its annotation says.

    Args:
        path: file of the image.
        shape: its height and width in pixels.
        annotated: those of the annotation.
        listed_in: where a user takes out the image.

    Raises:
        InputError: if they differ.

    Example:
        >>> check_size('1.jpg', (48, 64), (64, 48))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: 1.jpg has 48x64 pixels and its annotation says 64x48 (height
        x width), as if it were turned: correct the annotation (or the EXIF orientation of the
        image), or take it out of the data
    """
    if tuple(shape) != tuple(annotated):
        turned = tuple(shape) == tuple(annotated[::-1])
        raise InputError(
            f'{path} has {shape[0]}x{shape[1]} pixels and its annotation says '
            f'{annotated[0]}x{annotated[1]} (height x width){", as if it were turned" * turned}: '
            f'correct the annotation{" (or the EXIF orientation of the image)" * turned}, or take '
            f'it out of {listed_in}'
        )


def nearest(name: str, names: Sequence[str]) -> str:
    """Return a question with the most similar of some names, or ''.

    Example:
        >>> nearest('Cats', ['dog', 'cat'])
        " (did you mean 'cat'?)"
    """
    lower = {known.lower().strip(): known for known in names}
    similar = difflib.get_close_matches(name.lower().strip(), lower, 1)
    return f' (did you mean {lower[similar[0]]!r}?)' if similar else ''


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
    if labels.dtype.kind == 'f' and (labels != np.floor(labels)).any():
        raise InputError(f'{path} has fractions, and a mask holds one class id per pixel')
    beyond = labels[((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)]
    if beyond.size:
        ids = ', '.join(map(str, np.unique(beyond)[:5]))
        raise InputError(
            f'{path} has the class ids {ids}, which are beyond the {num_classes} classes of the '
            f'dataset (0 to {num_classes - 1}; {ignore_index} is ignored): correct the mask, or '
            'list all classes in metainfo.classes'
        )


def leaves(dataset: Any) -> Iterator[Any]:
    """Yield the datasets that wrappers, such as ConcatDataset or torch's Subset, hold."""
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if parts == [None]:
        yield dataset
    for part in parts:
        if part is not None:
            yield from leaves(part)


class CheckedDataset(BaseDataset):
    """A dataset in local files that names what is wrong with them, and reports what it leaves out.

    The base of a task's dataset, before that of the mm library. ``remedy`` says where the data come
    from, for the messages of what is missing.

    Args:
        allow_missing_classes: whether a class of ``metainfo.classes`` may have nothing to learn in
            training. Defaults to False. The classes that a dataset has by itself, such as COCO's
            80, may always be missing; the report says which are.
        kwargs: arguments of the mm library's dataset.

    Attributes:
        report: what is left out, and what is used in its one obvious meaning.
    """

    remedy = ''

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the settings before any class of the mm libraries works with them."""
        check_settings(cls, kwargs)
        return super().__new__(cls)

    def __init__(self, *args: Any, allow_missing_classes: bool = False, **kwargs: Any) -> None:
        self.allow_missing_classes = allow_missing_classes
        self._chosen = kwargs.get('indices')
        self.report = Report('')
        if kwargs.get('metainfo') is not None:
            kwargs['metainfo'] = _with_classes(kwargs['metainfo'])
        super().__init__(*args, **kwargs)

    @property
    def listed_in(self) -> str:
        """Where a user takes out an image."""
        return self.ann_file or 'its folder'

    def full_init(self) -> None:
        """List the images, and log what is left out."""
        if not self._fully_initialized:
            self.report = Report(
                self.ann_file or ', '.join(filter(None, self.data_prefix.values()))
            )
            try:
                with _without_garbage_collection():
                    super().full_init()
            except IndexError as error:
                if not self._chosen:
                    raise
                raise InputError(
                    f'indices of the dataset is {self._chosen!r:.100}, beyond the images of '
                    f'{self.report.name}: correct it, or take it out'
                ) from error
            if not len(self):
                refuse(f'{self.report.name} has no image that is used: see indices and filter_cfg')
            if self.report:
                MMLogger.get_current_instance().info(self.report.summary())

    def check_data_root(self) -> None:
        """Raise an InputError if the data root is no folder."""
        if self.data_root and not osp.isdir(self.data_root):
            raise InputError(f'the data root {self.data_root} is not a folder. {self.remedy}')

    def without_twins(self, names: list[str]) -> list[str]:
        """Return names of images, each once in an evaluation, and report those listed twice."""
        action = 'used once' if self.test_mode else 'used each time'
        for name, count in Counter(names).items() if len({*names}) < len(names) else ():
            if count > 1:
                self.report.used('images that are listed twice', name, message=action)
        return list(dict.fromkeys(names)) if self.test_mode else names

    def check_classes(self, counts: Iterable[int], what: str, cause: str = '') -> None:
        """Check that there is something to learn, and report the classes without.

        Args:
            counts: how much there is to learn of each class.
            what: what an image has of a class, such as 'box', or '' if it is of the class itself.
            cause: why there may be none, for the message. Defaults to what was left out.

        Raises:
            InputError: in training, if a class has nothing, unless ``allow_missing_classes``.
        """
        classes = self.metainfo['classes']
        missing = [name for name, count in zip(classes, counts, strict=True) if not count]
        if not missing or has_faults():  # of which it may be a consequence
            return
        own = list(classes) != list(self.METAINFO.get('classes', ()))
        refused = own or len(missing) == len(classes)
        if refused and not (self.test_mode or self.allow_missing_classes):
            which = f'{len(missing)} of the {len(classes)} classes'
            if len(missing) == len(classes):
                which = 'the classes to learn'
            refuse(
                f'{self.report.name} has no image{f" with a {what}" * bool(what)} of {which}, '
                f'{names_of(missing)}'
                f'{cause or self._cause(missing)}: correct the data or metainfo.classes, or set '
                'allow_missing_classes=True of the dataset'
            )
        for name in missing:
            self.report.left_out(EMPTY_CLASSES, self.report.name, label=name)

    def _cause(self, missing: list[str]) -> str:
        """Return what was left out of classes, or else a class that may be meant instead."""
        items = [item for item in self.report.items if item.action == 'left out']
        others = sorted({item.label for item in items if item.kind == OTHER_CLASSES})
        kinds = Counter(item.kind for item in items if item.label in missing) or Counter(
            item.kind for item in items if not item.label
        )
        counts = ', '.join(f'{kind} ({count})' for kind, count in kinds.items())
        return nearest(missing[0], others) + (f'; left out are {counts}' if counts else '')

    def prepare_metric(self, metric: Any, datasets: Sequence[Any]) -> None:
        """Let a metric know what it is to evaluate, before the loop starts.

        Args:
            metric: one of the evaluator's.
            datasets: this one, and those that are concatenated with it.

        Raises:
            InputError: if the metric is for other data.
        """

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a sample.

        Raises:
            InputError: if the pipeline fails and the sample's image or mask cannot be read, or if
                the image is not of the size that its annotation says. With files that can be read,
                the pipeline's error comes as it is.
        """
        info = self.get_data_info(idx)
        annotated = dict(info)  # the pipeline writes into info
        for key in ('img_path', 'seg_map_path'):
            if path := info.get(key):
                check_regular(path)
        try:
            data = self.pipeline(info)
        except InputError:
            raise
        # Decoders raise errors of many types, or return None, on which a later step fails.
        except Exception as error:
            for path, loader in _files_read(self.pipeline, annotated):
                if fault := _find_fault(path, loader):
                    raise InputError(
                        f'{path} cannot be read as an image ({fault}): restore the file, or take '
                        f'it out of {self.listed_in}'
                    ) from error
            try:
                shape = image_size_of(annotated['img_path'])
            except InputError:
                raise error from None
            self.check_sample(annotated, shape)
            raise
        if isinstance(data, dict):
            sample = _first(data.get('data_samples', data))
            if (shape := sample.get('ori_shape')) is not None:
                height, width = _first(shape)[:2] if isinstance(shape, list) else shape[:2]
                self.check_sample(annotated, (height, width))
        return data

    def check_sample(self, info: dict, shape: tuple[int, int]) -> None:
        """Compare a sample's annotation with its image.

        Args:
            info: the sample as the dataset lists it.
            shape: height and width in pixels of the image that was read.

        Raises:
            InputError: if they do not belong together.
        """


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spare the collector from going through millions of new entries, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _first(value: Any) -> Any:
    """Return the first of those that TestTimeAug makes of an image."""
    return value[0] if isinstance(value, list) else value


def _with_classes(metainfo: Any) -> Any:
    """Return metainfo if its classes are names; those of a file are read from it."""
    if not isinstance(metainfo, Mapping):
        raise InputError(f'metainfo of the dataset is {metainfo!r}: write dict(classes=(...))')
    if 'classes' not in metainfo:
        return metainfo
    classes = metainfo['classes']
    if isinstance(classes, str):
        if not osp.isfile(classes):
            raise InputError(
                f'metainfo.classes of the dataset is the text {classes!r}: write a tuple of names, '
                f'({classes!r},), with the comma'
            )
        classes = tuple(read_lines(classes))
    if not isinstance(classes, Sequence) or not all(isinstance(name, str) for name in classes):
        raise InputError(f'metainfo.classes of the dataset is {classes!r}: write a tuple of names')
    classes = tuple(composed(name.strip()) for name in classes)
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice or not classes:
        fault = f'has {twice[0]!r} twice' if twice else 'is empty'
        raise InputError(f'metainfo.classes of the dataset {fault}: list each class once')
    return {**metainfo, 'classes': classes}


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
