"""How files become images: for training, validation, inference and deployment alike."""

import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import InputError, mistaken

_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 274, 258, 262  # tags of EXIF and TIFF
_TURNED = (5, 6, 7, 8)  # orientations in which an image is shown on its side
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
#: Of 16-bit images with so few of the 256 levels a warning tells.
_FEW_LEVELS = 64


def read_image(path: str | Path, color_type: str | int = 'color') -> np.ndarray:
    """Read a file as training and inference do: see :func:`decode_image`.

    Example:
        >>> read_image('missing.png')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.png cannot be read as an image ([Errno 2] No such ...
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return decode_image(content, str(path), color_type)


def image_size_of(path: str | Path) -> tuple[int, int]:
    """Read the size of an image from its header.

    Args:
        path: file of the image.

    Returns:
        Height and width in pixels as :func:`read_image` returns the image, that is, set upright.

    Raises:
        InputError: if the file is no image that can be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     exif = Image.Exif()
        ...     exif[0x0112] = 6  # turned by a quarter
        ...     Image.new('L', (64, 48)).save(f'{folder}/1.jpg', exif=exif)
        ...     image_size_of(f'{folder}/1.jpg')
        (64, 48)
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe may never end
        raise unreadable(path, 'it is no regular file')
    try:
        return _size_by_pillow(path) or _size_by_tifffile(path)
    except UnidentifiedImageError as error:
        with open(path, 'rb') as file:
            raise _unknown(path, file.read(100)) from error
    except Exception as error:  # decoders raise errors of many types
        raise unreadable(path, error) from error


def _size_by_pillow(path: str | Path) -> tuple[int, int] | None:
    """Return the size; None for kinds of TIFF that are beyond Pillow."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            try:
                # Not picture.getexif(), which for PNG decodes the whole image.
                orientation = Image.Image.getexif(picture).get(_ORIENTATION, 1)
            except Exception:  # as in _orientation
                orientation = 1
            # Pillow has already turned the size of a TIFF, but for some of its versions.
            stored = getattr(picture, 'tag_v2', None)
            turned = stored is not None and (stored.get(256), stored.get(257)) != picture.size
            return (width, height) if orientation in _TURNED and not turned else (height, width)
    except (UnidentifiedImageError, ValueError):
        with open(path, 'rb') as file:
            if file.read(4) in _TIFF:
                return None
        raise


def _size_by_tifffile(path: str | Path) -> tuple[int, int]:
    import tifffile  # seldom needed

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        size, tag = (page.imagelength, page.imagewidth), page.tags.get(_ORIENTATION)
        return size[::-1] if tag and tag.value in _TURNED else size


def unreadable(path: str | Path, fault: object) -> InputError:
    """Return the error for a file that is no image, or not a whole one."""
    return InputError(
        f'{path} cannot be read as an image ({fault}): restore the file, or take it out of the data'
    )


def _unknown(path: str | Path, start: bytes) -> InputError:
    return unreadable(path, mistaken(start) or 'Pillow knows no such format')


def check_color_type(color_type: str | int) -> None:
    """Raise an InputError unless :func:`decode_image` knows the color type."""
    if color_type not in ('color', 'grayscale') and not (
        type(color_type) is int and color_type > 0
    ):
        raise InputError(
            "color_type is 'color', 'grayscale' or the number of bands to read as they are stored, "
            f'such as 4; not {color_type!r}'
        )


def decode_image(content: bytes, name: str, color_type: str | int = 'color') -> np.ndarray:
    """Decode an image as a viewer shows it, or the values of its bands as they are stored.

    What EXIF or TIFF says is rotated or mirrored is set upright. Of an animation, or of several
    pages, the first one is taken. Color profiles are not applied.

    What is shown depends on this file alone. Of 16-bit values the upper eight bits count: they are
    from 0 to 65,535, whatever part of that an image uses. Floats are from 0 to 1, or from 0 to 255
    if one is greater than 1. Integers of 32 bits or with a sign are from 0 to 255. What is
    transparent shows white.

    Args:
        content: of the file.
        name: what messages call it.
        color_type: 'color'; 'grayscale'; or the number of bands, to get the values as stored.

    Returns:
        For 'color' (height, width, 3) in the order blue, green, red. For 'grayscale' and for one
        band (height, width), for more (height, width, bands) in the order of the file. The type is
        uint8, but float32 for bands of more than eight bits.

    Raises:
        InputError: if the file is no whole image or has more than twice the pixels of
            PIL.Image.MAX_IMAGE_PIXELS, if values are not finite or beyond the ranges above, if it
            is transparent everywhere, or if it has another number of bands.

    Example:
        >>> file = BytesIO()
        >>> Image.fromarray(np.array([[0, 30_000, 65_535]], np.uint16)).save(file, 'PNG')
        >>> decode_image(file.getvalue(), 'thermal.png', 'grayscale')
        array([[  0, 117, 255]], dtype=uint8)
        >>> decode_image(file.getvalue(), 'thermal.png', 1)
        array([[    0., 30000., 65535.]], dtype=float32)
    """
    check_color_type(color_type)
    try:
        if isinstance(color_type, int):
            return _bands(content, name, color_type)
        return _shown(content, name, color_type)
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{name} is too large ({error}): cut it into tiles, shrink it, or raise Pillow's "
            'PIL.Image.MAX_IMAGE_PIXELS'
        ) from error
    except UnidentifiedImageError as error:
        raise _unknown(name, content[:100]) from error
    except Exception as error:  # decoders raise errors of many types
        raise unreadable(name, error) from error


def _shown(content: bytes, name: str, color_type: str) -> np.ndarray:
    picture = _open(content, name)
    if picture is None:
        values, orientation = _read_tiff(content, name)
        if (bands := _count(values)) not in (1, 3):
            raise InputError(f'{name} has {bands} bands: read them by color_type={bands}')
        picture = Image.fromarray(_in_eight_bits(values, name))
    else:
        orientation = _orientation(picture)
        if (deep := _deep_values(picture)) is not None:
            picture = Image.fromarray(_in_eight_bits(deep, name))
    if picture.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in picture.info:
        picture = _on_white(picture, name)
    if picture.mode != 'RGB' and (color_type == 'color' or picture.mode not in ('L', '1')):
        picture = picture.convert('RGB')
    if color_type == 'color':
        return _upright(np.array(picture)[:, :, ::-1], orientation)
    return _upright(np.array(picture.convert('L')), orientation)


def _bands(content: bytes, name: str, count: int) -> np.ndarray:
    picture = _open(content, name)
    if picture:
        values, orientation = _stored_values(picture, content), _orientation(picture)
        bits = max(_tag(picture, _BITS_PER_SAMPLE, (8,)))
    # Of colors Pillow takes eight bits, and of bands those that a viewer shows.
    if picture is None or (
        picture.format == 'TIFF' and (_count(values) != count or (values.ndim == 3 and bits > 8))
    ):
        values, orientation = _read_tiff(content, name)
    if _count(values) != count:
        raise InputError(
            f'{name} has {_count(values)} bands, and color_type of the loader wants {count}: '
            'convert the file, or take it out of the data'
        )
    if values.dtype != np.uint8:
        values = values.astype(np.float32)
        _check_finite(values, name)
    return _upright(values, orientation)


def _open(content: bytes, name: str) -> Image.Image | None:
    """Open a file and decode all of it; None for kinds of TIFF that are beyond Pillow."""
    try:
        picture: Image.Image = Image.open(BytesIO(content))
        picture.load()
    except (UnidentifiedImageError, ValueError):
        if content.startswith(_TIFF):
            return None
        raise
    frames = getattr(picture, 'n_frames', 1)
    if frames > 1 and picture.format != 'MPO':  # a photo with its preview
        _warn_once(
            'frames', f'{name} has {frames} frames or pages. Of such files the first one is taken'
        )
    if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or float('inf')):
        _warn_once(
            'large',
            f'{name} has {picture.width}x{picture.height} pixels (width x height). Such images '
            'take time and memory: cut them into tiles, or shrink them',
        )
    return picture


def _read_tiff(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Return the values of the first page, (height, width[, bands]), and its orientation."""
    import tifffile  # seldom needed

    with tifffile.TiffFile(BytesIO(content)) as file:
        page: Any = file.pages[0]
        limit = 2 * (Image.MAX_IMAGE_PIXELS or float('inf'))
        if page.imagewidth * page.imagelength > limit:
            raise Image.DecompressionBombError(f'{page.imagewidth}x{page.imagelength} pixels')
        values = page.asarray()
        if page.axes == 'SYX':
            values = values.transpose(1, 2, 0)
        elif page.axes not in ('YX', 'YXS'):
            raise InputError(f'{name} is a volume (axes {page.axes}): save its slices as images')
        if values.dtype.kind == 'c':
            raise InputError(f'{name} has complex values: save their magnitude')
        tag = page.tags.get(_ORIENTATION)
        return values, tag.value if tag else 1


def _stored_values(picture: Image.Image, content: bytes) -> np.ndarray:
    if picture.mode == 'P':
        picture = picture.convert('RGBA' if 'transparency' in picture.info else 'RGB')
    elif picture.mode == '1':
        picture = picture.convert('L')
    values = np.array(picture)
    if values.ndim == 3 and picture.format in ('PNG', 'JPEG2000'):
        # Pillow has no color with 16 bits.
        import cv2

        deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if deep is None:
            raise ValueError('OpenCV cannot decode it')
        if deep.dtype == np.uint16:
            values = deep[:, :, [2, 1, 0, 3][: deep.shape[2]]]
    return values


def _deep_values(picture: Image.Image) -> np.ndarray | None:
    """Return what has more than eight bits, 16-bit values from 0 to 65,535; None for the rest."""
    if picture.mode not in ('I', 'F') and not picture.mode.startswith('I;16'):
        return None
    values = np.array(picture)
    if picture.mode == 'F' or (picture.mode == 'I' and picture.format == 'TIFF'):
        return values
    bits = _tag(picture, _BITS_PER_SAMPLE, (16,))[0]
    values = values.astype(np.uint16) << (16 - bits)
    return 65_535 - values if _tag(picture, _PHOTOMETRIC, 1) == 0 else values  # 0 is white


def _tag(picture: Any, number: int, default: Any) -> Any:
    return picture.tag_v2.get(number, default) if picture.format == 'TIFF' else default


def _in_eight_bits(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype in (np.uint8, np.bool_):
        return values
    if values.dtype == np.uint16:
        shown = (values >> 8).astype(np.uint8)
        levels = int(shown.max()) - int(shown.min()) + 1
        if levels <= _FEW_LEVELS:
            _warn_once(
                'levels',
                f'{name} has 16-bit values from {values.min()} to {values.max()} of 0 to 65535, '
                f'which is {levels} of 256 levels in eight bits. To train on all bits of such '
                'images, see "Images" in docs/custom_data.md',
            )
        return shown
    _check_finite(values, name)
    low, high = values.min(), values.max()
    if low < 0 or high > 255:
        raise InputError(
            f'{name} has values from {low:g} to {high:g}, and nothing says which are black and '
            'white: save them as 16-bit values from 0 to 65535, or read them as they are, see '
            '"Images" in docs/custom_data.md'
        )
    if values.dtype.kind == 'f' and high <= 1:
        values = values * 255
    return np.rint(values).astype(np.uint8)


def _check_finite(values: np.ndarray, name: str) -> None:
    if not np.isfinite(values).all():
        raise InputError(
            f'{name} has values that are not finite numbers: give these pixels a value, or take '
            'the file out of the data'
        )


def _on_white(picture: Image.Image, name: str) -> Image.Image:
    picture = picture.convert('RGBA')
    if picture.getchannel('A').getextrema() == (0, 0):
        raise InputError(f'{name} is transparent everywhere: save it without transparency')
    white = Image.new('RGBA', picture.size, 'white')
    return Image.alpha_composite(white, picture).convert('RGB')


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # viewers show an image whose EXIF is broken
        return 1


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate or mirror an image as EXIF says."""
    if orientation not in range(2, 9):
        return values
    if orientation in _TURNED:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _count(values: np.ndarray) -> int:
    return values.shape[2] if values.ndim == 3 else 1


_warned: set[str] = set()


def _warn_once(kind: str, text: str) -> None:
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(text, stacklevel=2)
