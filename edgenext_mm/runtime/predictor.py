"""From an image to objects, a mask, classes or feature maps, by an exported file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..resize import resize
from .boxes import KEYS, select
from .sessions import Session

_FORMS = dict(boxes='detection', detections='detection', mask='segmentation', logits='segmentation')
_FORMS.update(scores='classification', features='features')


class Detections(NamedTuple):
    """Objects, best first: boxes (K, 4), x1 y1 x2 y2 in pixels, scores and labels (K,), names."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: Sequence[str]  # of all classes: names[labels[0]] is the first's


class Segmentation(NamedTuple):
    """The class of each pixel (height, width), with names and colors (RGB) of the classes."""

    mask: np.ndarray
    names: Sequence[str]
    palette: Sequence[Sequence[int]]


class Classification(NamedTuple):
    """The scores of all classes, (classes,), and their names."""

    scores: np.ndarray
    names: Sequence[str]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return names and scores of the best classes."""
        best = np.argsort(-self.scores, kind='stable')[:count]
        return [(self.names[index], float(self.scores[index])) for index in best]


class Prepared(NamedTuple):
    """The input of the network, and how much of it the image fills; the rest is padding."""

    image: np.ndarray  # (1, C, H, W), float32
    size: tuple[int, int]  # height, width


class Predictor:
    """A file of tools/export.py, which predicts what the model does in PyTorch, but for rounding.

    Args:
        path: the file, or the folder of ncnn.
        runtime: 'onnxruntime', 'openvino', 'opencv', 'litert' or 'ncnn'. Defaults to the suffix's.
        threads: of the runtime. Defaults to its own choice.
        task: refuse files for others than this one, such as 'detection'. Defaults to none.
        precision: of OpenVINO, such as 'f32'. Defaults to bfloat16 where the processor has it.
        session: a file that is loaded already: ``metadata``, and ``run(inputs)`` for the outputs.

    Raises:
        InputError: if the file is no whole one or for another task, or the runtime is not there; in
            use, if an image cannot be read or does not fit, or if results are not finite.

    Example:
        >>> Predictor('missing.onnx')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.onnx does not exist: write it by tools/export.py
    """

    def __init__(
        self,
        path: str | Path,
        runtime: str | None = None,
        threads: int | None = None,
        task: str | None = None,
        precision: str | None = None,
        session: Any = None,
    ) -> None:
        self.path, self.session = path, session or Session(path, runtime, threads, precision)
        self.metadata = meta = self.session.metadata
        try:
            self.task, self.form, self.given = meta['task'], meta['output']['form'], meta['input']
            self.names: Sequence[str] = [] if self.task == 'features' else meta['classes']
            found = f'format {meta["format"]} for {self.task} by {self.form}'
            fits = meta['format'] == 1 and _FORMS.get(self.form) == self.task == (task or self.task)
            post = meta.get('postprocess', {})
            self.settings = post | {key: post[key] for key in KEYS if self.form == 'boxes'}
            if fits:
                prepare(np.zeros((32, 32, self.given['channels']), np.uint8).squeeze(), meta)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f'{path} has broken metadata ({error!r}): export it again') from error
        if not fits:
            raise InputError(f'{path} has {found}, not format 1 for {task or "a predictor"}')

    def __call__(self, image: str | Path | np.ndarray) -> Any:
        """Predict an image.

        Args:
            image: file, or array (height, width[, channels]), of OpenCV's order BGR, or of bands.

        Returns:
            Detections, Segmentation, Classification, or a tuple of feature maps (1, C, H, W).
        """
        image = self._read(image)
        ready = prepare(image, self.metadata)
        inputs = {'image': ready.image.repeat(self.given['batch'] or 1, axis=0)}
        if self.form == 'mask' and not self.given['size']:
            inputs['mask_size'] = np.array(image.shape[:2], np.int64)
        outputs = self.session.run(inputs)
        classes = {'boxes': -1, 'scores': -1, 'logits': 1}.get(self.form)
        if classes and outputs[-1].shape[classes] != len(self.names):
            raise InputError(f'{self.path} has other classes than its metadata: export it again')
        if not all(np.isfinite(output).all() for output in outputs):
            raise InputError(f'{self.path} predicts numbers that are not finite for this image')
        if self.task == 'detection':
            return self._objects(outputs, image, ready)
        if self.task == 'segmentation':
            mask = self._mask(outputs[0][0], image.shape[:2], ready)
            return Segmentation(mask, self.names, self.metadata.get('palette', ()))
        if self.task == 'classification':
            return Classification(outputs[0][0], self.names)
        return tuple(output[:1] for output in outputs)

    def _read(self, image: str | Path | np.ndarray) -> np.ndarray:
        if not isinstance(image, np.ndarray):
            try:
                from ..images import read_image
            except ImportError as error:
                raise InputError(f'reading {image} needs Pillow: pip install pillow') from error
            image = read_image(image, self.given['color_type'])
        if image.shape[2:] == (1,):
            image = image[:, :, 0]
        bands = (self.given['channels'],) if self.given['channels'] > 1 else ()
        types = ['uint8'] if isinstance(self.given['color_type'], str) else ['uint8', 'float32']
        if image.ndim < 2 or image.shape[2:] != bands or not image.size or image.dtype not in types:
            wanted = f'({", ".join(["height", "width", *map(str, bands)])}) of {" or ".join(types)}'
            raise InputError(f'{self.path} is for images {wanted}, not {image.shape} {image.dtype}')
        return image

    def _objects(self, outputs: list[np.ndarray], image: np.ndarray, ready: Prepared) -> Detections:
        height, width = ready.size
        scale = (width / image.shape[1], height / image.shape[0])
        boxes = outputs[0].clip(0, np.array([width, height] * 2, 'f'))
        if self.form == 'detections':
            return Detections(boxes / np.array(scale * 2, 'f'), outputs[1], outputs[2], self.names)
        if not (anchors := self.settings.get('anchors')):
            *first, last = self.settings['anchor_cells']['per_cell']
            sides = np.array(ready.image.shape[2:]) / self.settings['anchor_cells']['stride']
            anchors = [n * int(np.ceil(sides / 2**i).prod()) for i, n in enumerate(first)] + [last]
        found = select(boxes[0], outputs[1][0], anchors, scale, self.settings)
        return Detections(*found, self.names)

    def _mask(self, output: np.ndarray, size: Any, ready: Prepared) -> np.ndarray:
        if output.shape == size:
            return output
        height, width = ready.size
        if self.form == 'mask':
            rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
            return output[rows[:, None], ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)]
        best, mask = np.full(size, -np.inf, np.float32), np.zeros(size, np.int32)
        for label, logits in enumerate(output[:, :height, :width]):
            logits = resize(np.ascontiguousarray(logits), size, 'bilinear', 'cv2')
            np.copyto(mask, label, where=logits > best)
            np.maximum(best, logits, out=best)
        return mask


def prepare(image: np.ndarray, metadata: dict[str, Any]) -> Prepared:
    """Resize, crop and pad an image as the config's test pipeline does; see ``Predictor``."""
    padded: Sequence[int] = image.shape[:2]
    for step in metadata['prepare']:
        height, width = image.shape[:2]
        if step['type'] == 'Pad':
            padded = [-(-side // step['size_divisor']) * step['size_divisor'] for side in padded]
            continue
        if step['type'] == 'CenterCrop':
            columns, rows = step['crop_size']
            top, left = max(round((height - rows) / 2), 0), max(round((width - columns) / 2), 0)
            image = image[top : top + rows, left : left + columns]
        else:
            size = _new_size(step, height, width)
            image = resize(image, size, step['interpolation'], step['backend'])
        padded = step['size'] if step['type'] == 'Fit' else image.shape[:2]
    height, width = image.shape[:2]
    bands: np.ndarray = image.reshape(height, width, -1)
    if metadata['input']['color_type'] == 'color':
        bands = bands[:, :, ::-1]
    tensor = np.empty((1, bands.shape[2], *padded), np.float32)
    tensor[:] = np.reshape(metadata['mean'], (-1, 1, 1))
    tensor[0, :, :height, :width] = bands.transpose(2, 0, 1)
    return Prepared(tensor, (height, width))


def _new_size(step: dict[str, Any], height: int, width: int) -> tuple[int, int]:
    """Return height and width after a step, as mmcv and mmpretrain compute them."""
    match step:
        case {'type': 'Resize', 'keep_ratio': False, 'scale': [columns, rows]}:
            return rows, columns
        case {'type': 'ResizeEdge', 'edge': edge, 'scale': scale}:
            if {'short': width < height, 'long': width > height}.get(edge, edge == 'width'):
                return max(int(scale * height / width), 1), scale
            return scale, max(int(scale * width / height), 1)
        case {'type': 'Resize', 'scale': scale}:
            factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        case {'type': 'Fit', 'size': [rows, columns]}:
            factor = min(rows / height, columns / width)
        case _:
            raise LookupError(f'a step {step}')
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)
