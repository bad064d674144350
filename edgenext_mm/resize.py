"""Images of another size, pixel by pixel as OpenCV and Pillow make them, in numpy alone."""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from .errors import InputError

_REACH = {'bilinear': 1, 'bicubic': 2}  # of the kernels in pixels; these are OpenCV's flags as well


def resize(image: np.ndarray, size: tuple[int, int], method: str, backend: str) -> np.ndarray:
    """Resize as mmcv.imresize does, by OpenCV or Pillow themselves if they are installed.

    Args:
        image: (height, width[, channels]), uint8; for 'cv2' also float32.
        size: height and width wanted.
        method: 'bilinear' or 'bicubic'.
        backend: 'cv2' (without antialiasing) or 'pillow'. In numpy 'cv2' is OpenCV with IPP, as on
            x86-64, but for one in 30,000 bicubic pixels, which differ by 1. Where OpenCV has no
            IPP, and for images of 2 or over 4 channels, one in 25 differs by 1.

    Example:
        >>> resize(np.array([[0, 100]], np.uint8), (1, 4), 'bilinear', 'cv2')
        array([[  0,  25,  75, 100]], dtype=uint8)
    """
    (height, width, *bands), eight_bits = image.shape, image.dtype == np.uint8
    if size == (height, width):
        return image
    if backend == 'pillow' and not (eight_bits and bands in ([], [3])):
        raise InputError("Pillow resizes grey and color in uint8: set backend='cv2' of the resize")
    if library := _library(backend):
        if backend == 'cv2':
            image = library.resize(image, size[::-1], interpolation=_REACH[method])
            return image.reshape(*size, *bands)
        flag = library.Resampling[method.upper()]
        return np.array(library.fromarray(image).resize(size[::-1], flag))
    if backend == 'pillow':
        # It rounds between the passes, so their order counts: this is that of Pillow 13.
        rows_first = height - size[0] > max(2 * (width - size[1]), 0)
        for axis in (0, 1) if rows_first else (1, 0):
            if image.shape[axis] != size[axis]:
                taps = _antialiased(image.shape[axis], size[axis], method)
                image = _clip((_weigh(image, axis, *taps) + 2**21) >> 22)
        return image
    fixed = eight_bits and method == 'bilinear'
    rows, weights = _taps(height, size[0], method, fixed)
    used, rows = np.unique(rows, return_inverse=True)  # the others need not be resized
    rows = rows.reshape(weights.shape)
    image = _weigh(image[used], 1, *_taps(width, size[1], method, fixed))
    if fixed:
        weights = weights.reshape(2, -1, *[1] * (image.ndim - 1))
        return _clip((((image >> 4)[rows] * weights >> 16).sum(0) + 2) >> 2)
    image = _weigh(image, 0, rows, weights)
    return _clip(np.rint(image)) if eight_bits else image


@cache
def _library(backend: str) -> Any:
    try:
        return import_module({'cv2': 'cv2', 'pillow': 'PIL.Image'}[backend])
    except ImportError:
        return None


def _clip(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)


def _weigh(image: np.ndarray, axis: int, taps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Add up the lines ``taps`` (n, new) of an axis, each with its weight."""
    shape = [-1 if place == axis else 1 for place in range(image.ndim)]
    image, total = image.astype(weights.dtype), np.zeros((), weights.dtype)
    for lines, weight in zip(taps, weights, strict=True):
        part = image.take(lines, axis, mode='clip')
        part *= weight.reshape(shape)
        total = total + part
    return total


def _taps(length: int, new: int, method: str, fixed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines of which OpenCV makes each new line, and their weights, (n, new) each."""
    place = ((np.arange(new) + 0.5) * (1 / (new / length)) - 0.5).astype('f' if fixed else 'd')
    first = np.floor(place)
    x = place - first
    weights = np.array([1 - x, x])
    if method == 'bicubic':
        weights, first = _cubic(np.array([x + 1, x, 1 - x, 2 - x]), -0.75), first - 1
    taps = np.clip(first.astype(int) + np.arange(len(weights))[:, None], 0, length - 1)
    return taps, np.rint(weights * 2048).astype('i') if fixed else weights.astype('f')


def _antialiased(length: int, new: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of Pillow, which widens its kernel to shrink an image."""
    widened = max(length / new, 1)
    center, reach = (np.arange(new) + 0.5) * (length / new), widened * _REACH[method]
    first = np.maximum((center - reach + 0.5).astype(int), 0)
    last = np.minimum((center + reach + 0.5).astype(int), length)
    taps = first + np.arange((last - first).max())[:, None]
    x = np.abs((taps - center + 0.5) * (1 / widened))
    weights = np.where(taps < last, _cubic(x, -0.5) if method == 'bicubic' else (1 - x).clip(0), 0)
    weights = weights / sum(weights) * 2**22  # added one by one, as Pillow does
    return taps, np.trunc(weights + np.copysign(0.5, weights)).astype('i')


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel of cubic convolution at distances of 0 and more."""
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
