"""Predict images, videos and cameras, and write what was found."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from ..errors import InputError
from ..export.files import open_session
from ..fileio import AtomicLocalBackend
from ..images import read_image
from ..parallel import track
from ..runtime import Classification, Detections, Predictor, Segmentation
from .drawing import TOP, Result, colors_of, draw, only

IMAGES = ('.bmp', '.gif', '.jp2', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
#: Errors of libraries that say something about one image, and nothing about the next.
OF_ONE_IMAGE = (ValueError, RuntimeError, MemoryError, cv2.error)


class Source(NamedTuple):
    """An image, a video or a camera."""

    path: str | int  # of a camera the number
    name: str  # for the files that are written
    frames: int | None  # None if nobody knows

    @property
    def is_image(self) -> bool:
        """Whether it is a single image."""
        return not isinstance(self.path, int) and not self.path.lower().endswith(VIDEOS)


def find_sources(words: Iterable[str]) -> list[Source]:
    """Find the images and videos that words of a command line mean.

    Args:
        words: files, folders (all images and videos below), patterns such as ``'data/*.jpg'``, or
            numbers of cameras.

    Raises:
        InputError: if a folder or a pattern has no image or video.

    Example:
        >>> [source.name for source in find_sources(['a/1.jpg', 'b/1.jpg'])]
        ['1.jpg', '1_2.jpg']
    """
    sources: list[Source] = []
    taken: set[str] = set()
    for word in words:
        found: list[tuple[str | int, str]] = [(word, Path(word).name)]
        if word.isdecimal() and not os.path.exists(word):
            found = [(int(word), f'camera_{word}')]
        elif os.path.isdir(word) or (has_magic(word) and not os.path.exists(word)):
            within = Path(word).rglob('*') if os.path.isdir(word) else map(Path, glob(word))
            files = sorted(p for p in within if p.suffix.lower() in IMAGES + VIDEOS and p.is_file())
            base = Path(word) if os.path.isdir(word) else None
            found = [(str(p), str(p.relative_to(base)) if base else p.name) for p in files]
            if not found:
                raise InputError(f'{word} has no images or videos ({" ".join(IMAGES + VIDEOS)})')
        for path, name in found:
            stem, suffix = os.path.splitext(name)
            number = 2
            while os.path.splitext(name)[0] in taken:
                name, number = f'{stem}_{number}{suffix}', number + 1
            taken.add(os.path.splitext(name)[0])
            source = Source(path, name, 1)
            sources.append(source if source.is_image else source._replace(frames=_length(path)))
    return sources


def _length(path: str | int) -> int | None:
    if isinstance(path, int):
        return None
    video = cv2.VideoCapture(path)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    return max(count, 0)


def load_predictor(
    model: str,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
) -> tuple[Callable[[np.ndarray], Result], str | int]:
    """Load an exported file.

    Args:
        model: the file.
        runtime: see :class:`~edgenext_mm.runtime.Predictor`.
        threads: as well.
        precision: as well.

    Returns:
        What predicts an array, and the color type of images that it takes.

    Raises:
        InputError: see :class:`~edgenext_mm.runtime.Predictor`; or if the file is a bare backbone.
    """
    session = open_session(model, runtime, threads, precision)
    predictor = Predictor(model, session=session)
    if predictor.task == 'features':
        raise InputError(f'{model} is a bare backbone, whose maps are nothing to draw')
    return predictor, predictor.given['color_type']


def load_inferencer(
    cfg: Config, checkpoint: str, device: str | None = None
) -> tuple[Callable[[np.ndarray], Result], str | int]:
    """Load a model of a config by its library's inferencer; see :func:`load_predictor`.

    Args:
        cfg: of a detector, segmentor or classifier.
        checkpoint: its weights.
        device: such as 'cpu' or 'cuda:0'. Defaults to a GPU if there is one.
    """
    scope = str(cfg.get('default_scope'))
    color_type = color_type_of(cfg)
    if scope == 'mmdet':
        from mmdet.apis import DetInferencer

        detector = DetInferencer(cfg, checkpoint, device=device, show_progress=False)

        def detect(image: np.ndarray) -> Detections:
            found = detector(image, return_datasamples=True, no_save_vis=True)
            objects = found['predictions'][0].pred_instances.cpu().numpy()
            names = detector.model.dataset_meta['classes']
            return Detections(objects.bboxes, objects.scores, objects.labels, names)

        return detect, color_type
    if scope == 'mmseg':
        from mmseg.apis import MMSegInferencer

        segmentor = MMSegInferencer(cfg, checkpoint, device=device)
        segmentor.show_progress = False  # which is no argument in OpenMMLab's own release

        def segment(image: np.ndarray) -> Segmentation:
            mask = segmentor(image, return_datasamples=True).pred_sem_seg.data[0].cpu().numpy()
            meta = segmentor.model.dataset_meta
            return Segmentation(mask, meta['classes'], meta['palette'])

        return segment, color_type
    if scope == 'mmpretrain':
        from mmpretrain import ImageClassificationInferencer

        classifier = ImageClassificationInferencer(cfg, checkpoint, device=device)
        names = classifier.classes or _class_names(cfg)

        def classify(image: np.ndarray) -> Classification:
            (found,) = classifier(image, return_datasamples=True)
            scores = found.pred_score.cpu().numpy()
            return Classification(scores, names or [str(label) for label in range(len(scores))])

        return classify, color_type
    raise InputError(f'default_scope of the config is {scope}: no library with an inferencer')


def color_type_of(cfg: Config) -> str | int:
    """Return the color type in which the test set of a config reads images."""
    color_type = 'color'
    for step in cfg.test_dataloader.dataset.pipeline:
        color_type = step.get('color_type', color_type)
    return color_type


def _class_names(cfg: Config) -> Sequence[str]:
    """Return the names that the test set of a config has; those of a checkpoint go before."""
    dataset = cfg.test_dataloader.dataset
    known = getattr(DATASETS.get(dataset.type), 'METAINFO', None) or {}
    return (known | (dataset.get('metainfo') or {})).get('classes', ())


def frames(source: Source, color_type: str | int) -> Iterator[np.ndarray]:
    """Read an image, or the frames of a video or camera one by one.

    Raises:
        InputError: if it cannot be read, or ends early; after what could be read of it.
    """
    if source.is_image:
        yield read_image(source.path, color_type)  # type: ignore[arg-type]
        return
    if color_type not in ('color', 'grayscale'):
        raise InputError(f'{source.path} has colors, and the model takes {color_type} bands')
    video = cv2.VideoCapture(source.path)
    count = 0
    try:
        while True:
            read, frame = video.read()
            if not read:
                break
            count += 1
            yield frame if color_type == 'color' else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    finally:
        video.release()
    if not count:
        what = 'camera' if isinstance(source.path, int) else 'video'
        raise InputError(f'{what} {source.path} cannot be opened, or no frame of it be decoded')
    if source.frames and count < source.frames:
        raise InputError(f'{source.path} ends early: {count} of {source.frames} frames are whole')


class Writer:
    """Writes results as they come, each file whole or not at all.

    Args:
        out_dir: folder for drawn images. Defaults to none.
        json: file for the objects, as COCO's results with ``file_name`` and, of videos, ``frame``.
            ``image_id`` counts from 1, and ``category_id`` is the label plus 1. Defaults to none.
        masks: folder for masks as PNG files with a palette. Defaults to none.
        csv: file for the best classes of each image. Defaults to none.
        score_thr: objects of lower scores are left out. Defaults to 0.3.

    Raises:
        InputError: if a file cannot be written; also in use.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        json: str | None = None,
        masks: str | None = None,
        csv: str | None = None,
        score_thr: float = 0.3,
    ) -> None:
        self.out_dir, self.json, self.masks, self.csv = out_dir, json, masks, csv
        self.score_thr = score_thr
        self._found: list[dict[str, Any]] = []
        self._rows: list[list[Any]] = [['file', 'frame', 'rank', 'class', 'score']]
        self._images = 0
        for folder in (out_dir, masks, *(os.path.dirname(f) for f in (json, csv) if f)):
            if folder:
                with _writes(folder):
                    os.makedirs(folder, exist_ok=True)
        self.close()  # a run of hours shall not fail at its end

    def keep(self, source: Source) -> None:
        """Raise an InputError if a file that is written would take the place of a source."""
        for folder, name in (
            (self.out_dir, source.name),
            (self.masks, f'{os.path.splitext(source.name)[0]}.png'),
        ):
            if folder and Path(folder, name).resolve() == Path(str(source.path)).resolve():
                raise InputError(f'{source.path} would be overwritten: choose another folder')

    def write(self, source: Source, number: int, image: np.ndarray, result: Result) -> None:
        """Write what was found in an image, or in the frame with a number from 0."""
        self._images += 1
        self._check(result)
        stem = os.path.splitext(source.name)[0]
        name = source.name if source.is_image else f'{stem}_{number:06d}.jpg'
        if isinstance(result, Detections):
            result = only(result, result.scores >= self.score_thr)
            self._found += self._objects(source, number, result)
        elif isinstance(result, Classification):
            for rank, (label, score) in enumerate(result.top(TOP), 1):
                frame = '' if source.is_image else number
                self._rows.append([source.path, frame, rank, label, f'{score:.6f}'])
        elif self.masks:
            picture = Image.fromarray(result.mask.astype(np.uint8))
            picture.putpalette(np.array(colors_of(result), np.uint8).tobytes())
            self._picture(picture, Path(self.masks) / f'{os.path.splitext(name)[0]}.png')
        if self.out_dir:
            path = Path(self.out_dir) / name
            drawable = path.suffix.lower() in ('.png', '.jpg', '.jpeg', '.webp', '.bmp')
            self._picture(draw(image, result), path if drawable else Path(f'{path}.png'))

    def close(self) -> None:
        """Write the files for all images so far."""
        if self.json:
            self._put(json.dumps(self._found, indent=1).encode(), self.json)
        if self.csv:
            text = io.StringIO()
            csv.writer(text, lineterminator='\n').writerows(self._rows)
            self._put(text.getvalue().encode(), self.csv)

    def _check(self, result: Result) -> None:
        wanted = dict(json=Detections, masks=Segmentation, csv=Classification)
        for option, kind in wanted.items():
            if getattr(self, option) and not isinstance(result, kind):
                raise InputError(
                    f'--{option} is for models of {kind.__name__.lower()}, and this one is of '
                    f'{type(result).__name__.lower()}'
                )

    def _objects(self, source: Source, number: int, result: Detections) -> Iterator[dict]:
        for box, score, label in zip(result.boxes, result.scores, result.labels, strict=True):
            x1, y1, x2, y2 = (round(float(value), 3) for value in box)
            found = {
                'image_id': self._images,
                'file_name': str(source.path),
                'category_id': int(label) + 1,
                'category_name': result.names[label],
                'bbox': [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
                'score': round(float(score), 6),
            }
            yield found if source.is_image else found | {'frame': number}

    def _picture(self, picture: Image.Image, path: Path) -> None:
        content = io.BytesIO()
        picture.save(
            content, 'JPEG' if path.suffix.lower() in ('.jpg', '.jpeg') else path.suffix[1:]
        )
        self._put(content.getvalue(), str(path))

    def _put(self, content: bytes, path: str) -> None:
        with _writes(path):
            AtomicLocalBackend().put(content, path)


@contextmanager
def _writes(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(f'{path} cannot be written ({error.strerror or error})') from error


class NotWritten(InputError):
    """Results cannot be written: there is no point in predicting more."""


def infer(
    predict: Callable[[np.ndarray], Result],
    color_type: str | int,
    sources: Sequence[Source],
    writer: Writer,
) -> tuple[int, list[str]]:
    """Predict all sources, and go on after one that cannot be read or predicted.

    Returns:
        How many images and frames are done, and a line for each fault.

    Raises:
        InputError: if results cannot be written; those before are.
    """
    faults: list[str] = []
    done = 0
    for source in sources:
        writer.keep(source)
    lengths = [source.frames for source in sources]
    total = None if None in lengths else max(sum(filter(None, lengths)), len(sources))

    def all_frames() -> Iterator[tuple[Source, int, np.ndarray | None]]:
        for source in sources:
            try:
                for number, image in enumerate(frames(source, color_type)):
                    yield source, number, image
            except OF_ONE_IMAGE as error:
                faults.append(fault(source.path, error))
                if source.is_image:
                    yield source, 0, None

    try:
        for source, number, image in track(all_frames(), total, 'predicting', unit='frames'):
            if image is None:
                continue
            try:
                result = predict(image)
            except OF_ONE_IMAGE as error:
                faults.append(fault(source.path, error))
                continue
            writer.write(source, number, image, result)
            done += 1
    except NotWritten as error:
        raise InputError(f'{error}: {done} images are done, and written before it') from error
    except KeyboardInterrupt:
        faults.append('interrupted')
    finally:
        writer.close()
    return done, faults


def fault(path: str | int, error: Exception) -> str:
    """Return the line for an image that cannot be read or predicted, with its path."""
    text = str(error) if isinstance(error, InputError) else f'{type(error).__name__}: {error}'
    return text if str(path) in text else f'{path}: {text}'
