"""Semantic masks in the format of Pascal VOC from COCO's instances.

DeepLab's networks, and with them CVNets' recipe for MobileViT that the EdgeNeXt paper follows, are
trained on VOC and on those images of COCO that show VOC's classes.
"""

from json import JSONDecodeError
from pathlib import Path

import numpy as np
from mmseg.datasets import PascalVOCDataset
from pycocotools.coco import COCO

from ..errors import InputError
from . import voc

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


def draw_mask(height, width, annotations, class_ids):
    """Draw the instances of an image, smaller ones over larger ones.

    Args:
        height (int): of the image in pixels.
        width (int): of the image in pixels.
        annotations (list[dict]): COCO's annotations of the image.
        class_ids (dict[int, int]): VOC's class id by category id; others are left out.

    Returns:
        ndarray: (height, width) uint8 class ids; 0 is background, and crowds are 255.
    """
    coco = COCO()  # its annToMask reads all of COCO's forms of a segmentation
    mask = np.zeros((height, width), np.uint8)
    for annotation in sorted(annotations, key=lambda item: item['area'], reverse=True):
        label = class_ids.get(annotation['category_id'])
        if label is not None:
            coco.imgs[annotation['image_id']] = dict(height=height, width=width)
            shape = coco.annToMask(annotation).astype(bool)
            mask[shape] = voc.IGNORE if annotation['iscrowd'] else label
    return mask


def convert_coco(coco_root, out, processes=None):
    """Write ``<split>/*.png`` and ``<split>.txt``, the list of their names, for each split.

    Images without any of VOC's classes are left out. Masks that are there already are kept, so
    that a run which was stopped goes on.

    Args:
        coco_root (str | Path): folder with ``annotations/instances_{train,val}2017.json``, of
            which one may be missing.
        out (str | Path): folder to write.
        processes (int): defaults to one per CPU.

    Returns:
        dict[str, int]: the number of masks in each split.

    Raises:
        InputError: if there are no annotations, or if they cannot be read.
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


def _convert_split(annotation_file, out, split, processes):
    try:
        coco = COCO(annotation_file)
        class_ids = {
            c['id']: _IDS[c['name']] for c in coco.dataset['categories'] if c['name'] in _IDS
        }
        images = [
            image
            for image in coco.dataset['images']
            if any(a['category_id'] in class_ids for a in coco.imgToAnns[image['id']])
        ]
    except (AssertionError, KeyError, TypeError, UnicodeDecodeError, JSONDecodeError) as error:
        raise InputError(f'{annotation_file} is not a whole file of COCO annotations') from error
    tasks = {
        out / split / f'{Path(image["file_name"]).stem}.png': (
            *(image['height'], image['width']),
            coco.imgToAnns[image['id']],
            class_ids,
        )
        for image in images
    }
    voc.convert_masks(draw_mask, tasks, processes)
    voc.write_list(out / f'{split}.txt', sorted(path.stem for path in tasks))
    return len(tasks)
