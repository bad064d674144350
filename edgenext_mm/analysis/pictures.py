"""Pictures of the samples of a dataset: what is annotated, and what a model finds."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from PIL import Image, ImageDraw

from ..datasets.checks import leaves
from ..engine import Runner as OwnRunner
from ..errors import InputError
from ..images import read_image
from ..runtime import Classification, Detections, Segmentation
from .drawing import Result, draw
from .fonts import draw_text
from .summary import SPLITS, write

SIDE, LINE = 320, 16  # pixels of a contact sheet: the longer side of an image, and its text
IGNORED = 255


def annotated(sample: Any, meta: dict[str, Any]) -> Result | None:
    """Return what is annotated in a data sample, with nan as scores, or None if nothing is loaded.

    Args:
        sample: of mmdet, mmseg or mmpretrain.
        meta: the dataset's, with the names of the classes.
    """
    names = meta.get('classes') or ()
    if 'gt_sem_seg' in sample:
        mask = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
        # What is ignored is white.
        mask = np.where(mask == IGNORED, len(names), mask)
        return Segmentation(mask, [*names, ''], [*meta.get('palette', ()), (255, 255, 255)])
    if 'gt_label' in sample:
        found = [_name(names, label) for label in sample.gt_label.tolist()]
        return Classification(np.full(len(found), np.nan), found)
    if 'gt_instances' not in sample or 'bboxes' not in sample.gt_instances:
        return None
    objects = sample.gt_instances
    boxes = getattr(objects.bboxes, 'tensor', objects.bboxes).cpu().numpy()
    return Detections(boxes, np.full(len(boxes), np.nan), objects.labels.cpu().numpy(), names)


def predicted(sample: Any, meta: dict[str, Any], score_thr: float = 0.3) -> Result:
    """Return what a model found in a data sample.

    Args:
        sample: see :func:`annotated`.
        meta: as well.
        score_thr: objects of lower scores are left out. Defaults to 0.3.
    """
    names = meta.get('classes') or ()
    if 'pred_sem_seg' in sample:
        mask = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return Segmentation(mask, names, meta.get('palette', ()))
    if 'pred_score' in sample:
        scores = sample.pred_score.cpu().numpy()
        return Classification(scores, [_name(names, label) for label in range(len(scores))])
    objects = sample.pred_instances.cpu().numpy()
    objects = objects[objects.scores >= score_thr]
    return Detections(objects.bboxes, objects.scores, objects.labels, names)


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if names else str(label)


class PicturesHook(Hook):
    """Draws each image of a test: what is annotated, if that is loaded, and what is predicted.

    A picture has the path of its image below the data root. So equal names in different folders
    stay apart.

    Args:
        folder: for the pictures.
        color_type: in which images are read. Defaults to 'color'.
        score_thr: objects of lower scores are left out. Defaults to 0.3.

    Raises:
        InputError: in use, if a picture cannot be written.
    """

    def __init__(
        self, folder: str | Path, color_type: str | int = 'color', score_thr: float = 0.3
    ) -> None:
        self.folder, self.color_type, self.score_thr = Path(folder), color_type, score_thr

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the images of a batch."""
        dataset = runner.test_dataloader.dataset
        meta = dataset.metainfo
        roots = [getattr(leaf, 'data_root', '') for leaf in leaves(dataset)]
        for sample in outputs:
            image = read_image(sample.img_path, self.color_type)
            results = annotated(sample, meta), predicted(sample, meta, self.score_thr)
            pictures = [draw(image, result) for result in results if result is not None]
            width, height = pictures[0].size
            row = Image.new('RGB', (len(pictures) * width, height))
            for place, picture in enumerate(pictures):
                row.paste(picture, (place * width, 0))
            save(row, self.folder / path_below(sample.img_path, roots).with_suffix('.jpg'))


def path_below(path: str, roots: Sequence[str]) -> Path:
    """Return a path as seen from the root that it is in; the whole of it if it is in none.

    Example:
        >>> [str(path_below(f'data/{name}', ['data'])) for name in ('a/1.jpg', 'b/1.jpg')]
        ['a/1.jpg', 'b/1.jpg']
        >>> str(path_below('/other/1.jpg', ['data']))
        'other/1.jpg'
    """
    whole = Path(path).absolute()
    for root in roots:
        if root and whole.is_relative_to(Path(root).absolute()):
            return whole.relative_to(Path(root).absolute())
    return whole.relative_to(whole.anchor)


def save(picture: Image.Image, path: str | Path) -> None:
    """Write a picture, whole or not at all.

    Raises:
        InputError: if its suffix is of no format that Pillow writes, or if it cannot be written.

    Example:
        >>> save(Image.new('RGB', (8, 8)), 'picture.txt')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: picture.txt has no suffix of a picture: take .png or .jpg
    """
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f'{path} has no suffix of a picture: take .png or .jpg')
    content = io.BytesIO()
    picture.save(content, kind)
    write(path, content.getvalue())


def browse(cfg: Config, split: str = 'train', number: int = 16, seed: int = 0) -> Image.Image:
    """Draw what the network gets: images after the pipeline, with their annotations.

    The images come in the batches and the order of training, and are those before the
    data_preprocessor, which normalizes them.

    Args:
        cfg: a config for mmdet, mmseg or mmpretrain.
        split: 'train', 'val' or 'test'.
        number: of images. Defaults to 16.
        seed: of order and augmentation. Defaults to 0.

    Raises:
        InputError: if the config has no such data, or if they are not as they should be.
    """
    if split not in SPLITS or cfg.get(f'{split}_dataloader') is None:
        raise InputError(f'{cfg.filename} has no {split}_dataloader: choose another --split')
    if number < 1:
        raise InputError(f'--number is {number}: take 1 or more')
    set_random_seed(seed)
    loader = OwnRunner.build_dataloader(dict(cfg[f'{split}_dataloader'], num_workers=0), seed)
    dataset: Any = loader.dataset
    meta, pictures = dataset.metainfo, []
    for batch in loader:
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            pictures.append(_thumbnail(image.permute(1, 2, 0).numpy(), sample, meta))
            if len(pictures) == number:
                return _sheet(pictures)
    return _sheet(pictures)


def _thumbnail(image: np.ndarray, sample: Any, meta: dict[str, Any]) -> Image.Image:
    result = annotated(sample, meta)
    picture = draw(
        image.squeeze(), result or Detections(np.empty((0, 4)), np.empty(0), np.empty(0), ())
    )
    picture.thumbnail((SIDE, SIDE))
    named = Image.new('RGB', (SIDE, picture.height + 2 * LINE), 'white')
    named.paste(picture)
    text = Path(sample.img_path).name + f' {image.shape[1]}x{image.shape[0]}'
    draw_text(ImageDraw.Draw(named), (0, picture.height), text, LINE - 4, (255, 255, 255))
    return named


def _sheet(pictures: list[Image.Image]) -> Image.Image:
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    sheet = Image.new('RGB', (columns * SIDE, sum(heights)), 'white')
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            sheet.paste(picture, (j * SIDE, sum(heights[:i])))
    return sheet
