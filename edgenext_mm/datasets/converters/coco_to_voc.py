"""Semantic masks in the format of Pascal VOC from COCO's instances.

DeepLab's networks, and with them CVNets' recipe for MobileViT that the EdgeNeXt paper follows, are
trained on VOC and on those images of COCO that show VOC's classes.
"""

from functools import partial
from pathlib import Path

import numpy as np
from mmseg.datasets import PascalVOCDataset
from pycocotools.coco import COCO

from ...errors import InputError
from ..checks import coco_errors
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


def draw_mask(image, annotations, class_ids):
    """Draw the instances of an image, smaller ones over larger ones.

    Args:
        image (dict): COCO's entry of the image.
        annotations (list[dict]): COCO's annotations of the image.
        class_ids (dict[int, int]): VOC's class id by category id; others are left out.

    Returns:
        ndarray: (height, width) uint8 class ids; 0 is background, and crowds are 255.

    Raises:
        InputError: if an annotation has no usable segmentation.
    """
    coco = COCO()  # its annToMask reads all of COCO's forms of a segmentation
    coco.imgs = {image['id']: image}
    mask = np.zeros((image['height'], image['width']), np.uint8)
    for annotation in sorted(annotations, key=lambda item: item['area'], reverse=True):
        if annotation['category_id'] in class_ids:
            try:
                shape = coco.annToMask(annotation).astype(bool)
            except Exception as error:  # pycocotools' word for an unknown form is Exception
                raise InputError(
                    f'annotation {annotation["id"]} of the image {image["file_name"]} has no '
                    'segmentation that can be drawn: correct it, or take it out of the file'
                ) from error
            crowd = annotation['iscrowd']
            mask[shape] = voc_masks.IGNORE if crowd else class_ids[annotation['category_id']]
    return mask


def convert_coco(coco_root, out, processes=None):
    """Write ``<split>/*.png`` and ``<split>.txt``, the list of their names, for each split.

    Images without an instance or crowd of VOC's classes are left out. Masks that are there already
    are kept, so that a run which was stopped goes on.

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
    with coco_errors(annotation_file):
        coco = COCO(annotation_file)
        categories = {category['id']: category['name'] for category in coco.dataset['categories']}
        class_ids = {i: _IDS[name] for i, name in categories.items() if name in _IDS}
        tasks = {
            out / split / f'{Path(image["file_name"]).stem}.png': (image, annotations)
            for image in coco.dataset['images']
            if (annotations := coco.imgToAnns[image['id']])
            and any(annotation['category_id'] in class_ids for annotation in annotations)
        }
    voc_masks.convert_masks(partial(draw_mask, class_ids=class_ids), tasks, processes)
    voc_masks.write_list(out / f'{split}.txt', sorted(path.stem for path in tasks))
    return len(tasks)
