"""Semantic masks in the format of Pascal VOC from COCO's instances.

The EdgeNeXt paper follows CVNets' recipe for DeepLabv3 with MobileViT, which trains on VOC and on
those images of COCO that show VOC's classes.
"""

import sys
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from pycocotools.coco import COCO

from ...errors import InputError
from ..annotations import read_coco
from ..report import Report
from . import voc_masks

SPLITS = ('train2017', 'val2017')

#: COCO's names of VOC's classes, where they differ.
_COCO_NAMES = {
    'aeroplane': 'airplane',
    'diningtable': 'dining table',
    'motorbike': 'motorcycle',
    'pottedplant': 'potted plant',
    'sofa': 'couch',
    'tvmonitor': 'tv',
}
_IDS = {
    _COCO_NAMES.get(name, name): i for i, name in enumerate(PascalVOCDataset.METAINFO['classes'])
}


def draw_mask(image: dict, annotations: list[dict], class_ids: dict[int, int]) -> np.ndarray:
    """Draw the instances of an image, smaller ones over larger ones.

    Args:
        image: COCO's entry of the image.
        annotations: COCO's annotations of the image.
        class_ids: VOC's class id by category id; annotations of other categories are left out.

    Returns:
        (height, width) uint8 class ids; 0 is background, and crowds are 255.

    Raises:
        InputError: if an annotation has no segmentation that can be drawn.

    Example:
        >>> image = dict(id=1, file_name='1.jpg', height=2, width=4)
        >>> left = dict(id=1, image_id=1, category_id=18, iscrowd=0, area=4)
        >>> left['segmentation'] = [[0, 0, 2, 0, 2, 2, 0, 2]]
        >>> draw_mask(image, [left], {18: 12})
        array([[12, 12,  0,  0],
               [12, 12,  0,  0]], dtype=uint8)
    """
    coco = COCO()  # its annToMask reads all of COCO's forms of a segmentation
    coco.imgs = {image['id']: image}
    size = image['height'], image['width']
    limit = 2 * (Image.MAX_IMAGE_PIXELS or float('inf'))  # of the images that can be read
    if size[0] * size[1] > limit:
        raise InputError(
            f'the image {image["file_name"]} has {size[0]}x{size[1]} pixels (height x width), more '
            f'than the {limit:.0f} that are read: correct its size'
        )
    mask = np.zeros(size, np.uint8)
    for annotation in sorted(annotations, key=lambda item: item['area'], reverse=True):
        if annotation['category_id'] in class_ids:
            try:
                _check_extent(annotation['segmentation'], size)
                shape = coco.annToMask(annotation).astype(bool)
            except Exception as error:  # pycocotools raises its own for an unknown form
                raise InputError(
                    f'annotation {annotation["id"]} of the image {image["file_name"]} has no '
                    'segmentation that can be drawn: correct it, or take it out of the file'
                ) from error
            crowd = annotation['iscrowd']
            mask[shape] = voc_masks.IGNORE if crowd else class_ids[annotation['category_id']]
    return mask


def _check_extent(segmentation: Any, size: tuple[int, int]) -> None:
    """Raise an error for what is far outside of the image: pycocotools would fill the memory."""
    if isinstance(segmentation, dict):
        if [*segmentation['size']] != [*size]:
            raise ValueError(f'its size is {segmentation["size"]}, that of the image {size}')
        return
    far = 10 * max(size)
    if not all(abs(value) <= far for polygon in segmentation for value in polygon):
        raise ValueError('it is far outside of the image')


def convert_coco(
    coco_root: str | Path, out: str | Path, processes: int | None = None
) -> dict[str, int]:
    """Write ``<split>/*.png`` and ``<split>.txt``, the list of their names, for each split.

    Images without an instance or crowd of VOC's classes are left out. Masks that are there already
    are kept, so that a run which was stopped goes on.

    Args:
        coco_root: folder with ``annotations/instances_{train,val}2017.json``, of which one may be
            missing.
        out: folder to write.
        processes: how many draw masks. Defaults to one per CPU.

    Returns:
        The number of masks in each split.

    Raises:
        InputError: if there are no annotations, or if they cannot be read.

    Example:
        >>> convert_coco('nowhere', 'masks')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: nowhere has no annotations/instances_train2017.json or ...
    """
    files = {split: Path(coco_root, 'annotations', f'instances_{split}.json') for split in SPLITS}
    files = {split: path for split, path in files.items() if path.is_file()}
    if not files:
        raise InputError(
            f'{coco_root} has no annotations/instances_train2017.json or instances_val2017.json: '
            'is it the folder of COCO 2017?'
        )
    return {
        split: _convert_split(path, Path(out), split, processes) for split, path in files.items()
    }


def _convert_split(annotation_file: Path, out: Path, split: str, processes: int | None) -> int:
    images = annotation_file.parents[1] / split
    content = read_coco(annotation_file, str(images), report := Report(str(annotation_file)))
    if report:
        print(report.summary(), file=sys.stderr)
    categories = {category['id']: category['name'] for category in content['categories']}
    class_ids = {i: _IDS[name] for i, name in categories.items() if name in _IDS}
    by_image = defaultdict(list)
    for annotation in content['annotations']:
        by_image[annotation['image_id']].append(annotation)
    names = Counter(Path(image['file_name']).stem for image in content['images'])
    name, count = names.most_common(1)[0]
    if count > 1:
        raise InputError(
            f'{annotation_file} has {count} images whose mask is {name}.png: give their files '
            'names that differ without folder and suffix'
        )
    tasks = {
        out / split / f'{Path(image["file_name"]).stem}.png': (image, annotations)
        for image in content['images']
        if (annotations := by_image[image['id']])
        and any(annotation['category_id'] in class_ids for annotation in annotations)
    }
    try:
        voc_masks.convert_masks(partial(draw_mask, class_ids=class_ids), tasks, processes)
    except InputError as error:
        raise InputError(f'{annotation_file}: {error}') from error
    voc_masks.write_list(out / f'{split}.txt', sorted(path.stem for path in tasks))
    return len(tasks)
