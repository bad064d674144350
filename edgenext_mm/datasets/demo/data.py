"""Synthetic data in the layouts of COCO 2017, Pascal VOC 2012 and ImageNet, to try configs with.

An image depends on nothing but its own seed ``[seed, split, index]``: the number of processes does
not change it.
"""

import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from ...errors import InputError
from ...fileio import AtomicLocalBackend
from ...models.edgenext import MIN_SIZE
from ...parallel import parallel_map
from ..converters import voc_masks
from .scenes import CLASSES, SceneObject, draw_scene

GENERATOR = 'edgenext_mm demo data'
#: To be raised whenever the drawn data change, so that folders of older versions are redrawn.
VERSION = 3
SPLITS = ('train', 'val')
STAMP = 'demo_data.json'

_SUPERCATEGORIES = {
    'person': 'person',
    'vehicle': 'bicycle, car, motorcycle, airplane, bus, train, truck, boat',
    'outdoor': 'traffic light, fire hydrant, stop sign, parking meter, bench',
    'animal': 'bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe',
    'accessory': 'backpack, umbrella, handbag, tie, suitcase',
    'sports': 'frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, '
    'skateboard, surfboard, tennis racket',
    'kitchen': 'bottle, wine glass, cup, fork, knife, spoon, bowl',
    'food': 'banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake',
    'furniture': 'chair, couch, potted plant, bed, dining table, toilet',
    'electronic': 'tv, laptop, mouse, remote, keyboard, cell phone',
    'appliance': 'microwave, oven, toaster, sink, refrigerator',
    'indoor': 'book, clock, vase, scissors, teddy bear, hair drier, toothbrush',
}
_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # COCO numbers its 80 classes up to 90
_ids = (i for i in range(1, 91) if i not in _UNUSED_IDS)
CATEGORIES = [
    {'supercategory': group, 'id': next(_ids), 'name': name}
    for group, names in _SUPERCATEGORIES.items()
    for name in names.split(', ')
]
_CATEGORY_IDS = {category['name']: category['id'] for category in CATEGORIES}


def _polygons(mask: np.ndarray, scale: int = 4) -> list[list[float]]:
    """Return the outlines [x1, y1, x2, y2, ...] of a uint8 mask, in pixels."""
    contours, hierarchy = cv2.findContours(
        cv2.resize(mask, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_SIMPLE,
    )
    for contour, (*_, parent) in zip(contours, hierarchy[0], strict=True):
        if parent >= 0:  # COCO's polygons have no holes: cut the mask in two through this one
            middle = (contour[:, 0, 0].min() + contour[:, 0, 0].max()) // 2 // scale
            left, right = mask.copy(), mask.copy()
            left[:, middle:], right[:, :middle] = 0, 0
            return _polygons(left) + _polygons(right)
    return [
        ((cv2.approxPolyDP(contour, 1.5, True) + 0.5) / scale).ravel().tolist()
        for contour in contours
    ]


def _semantic_mask(shape: tuple[int, int], objects: list[SceneObject]) -> np.ndarray:
    """Return class ids as VOC has them: 1 for the first of CLASSES, 255 on borders of objects."""
    labels = np.zeros(shape, np.uint8)
    borders = np.zeros(shape, bool)
    for item in objects:
        labels[item.mask] = 1 + CLASSES.index(item.name)
        edges = cv2.morphologyEx(item.mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
        borders |= edges.astype(bool)
    labels[borders] = voc_masks.IGNORE
    return labels


def _write_xml(path: Path, image: dict, names: list[str], boxes: list[list[int]]) -> None:
    """Write the boxes [x, y, w, h] of an image as VOC does, which counts pixels from 1."""

    def add(parent: ElementTree.Element, tag: str, children: dict[str, Any]) -> ElementTree.Element:
        element = ElementTree.SubElement(parent, tag)
        for name, value in children.items():
            ElementTree.SubElement(element, name).text = str(value)
        return element

    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = image['file_name']
    add(root, 'size', {'width': image['width'], 'height': image['height'], 'depth': 3})
    for name, (x, y, w, h) in zip(names, boxes, strict=True):
        corners = {'xmin': x + 1, 'ymin': y + 1, 'xmax': x + w, 'ymax': y + h}
        add(add(root, 'object', {'name': name, 'difficult': 0}), 'bndbox', corners)
    ElementTree.ElementTree(root).write(path)


def _write_crops(
    out: Path, split: int, index: int, image: np.ndarray, objects: list[SceneObject]
) -> list[str]:
    """Write the surroundings of the largest object of each class; return lines for the list."""
    largest = {item.name: item for item in sorted(objects, key=lambda item: item.mask.sum())}
    lines = []
    for name in sorted(largest):
        x, y, w, h = cv2.boundingRect(largest[name].mask.astype(np.uint8))
        side = max(round(1.4 * max(w, h)), MIN_SIZE)
        left = np.clip(x + (w - side) // 2, 0, max(image.shape[1] - side, 0))
        top = np.clip(y + (h - side) // 2, 0, max(image.shape[0] - side, 0))
        path = _crop_file(out, split, index, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encode(image[top : top + side, left : left + side]))
        lines.append(f'{name}/{path.name} {sorted(CLASSES).index(name)}')
    return lines


def _encode(image: np.ndarray) -> bytes:
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _write_image(
    out: Path, seed: int, split: int, index: int
) -> tuple[dict, list[dict], list[str]]:
    """Draw and write one image and its crops.

    Returns:
        Its COCO entry, its annotations without id, and the lines of its crops for ImageNet's list.
    """
    image, objects = draw_scene(np.random.default_rng([seed, split, index]))
    height, width = image.shape[:2]
    coco_image, voc_image, voc_mask, voc_xml = _image_files(out, split, index)
    jpeg = _encode(image)
    coco_image.write_bytes(jpeg)
    voc_image.write_bytes(jpeg)
    voc_masks.write_mask(voc_mask, _semantic_mask((height, width), objects))
    image_id = _image_id(split, index)
    info = {'id': image_id, 'file_name': coco_image.name, 'height': height, 'width': width}
    annotations: list[dict] = []
    for item in objects:
        mask = item.mask.astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        polygons = [
            [value + offset for value, offset in zip(polygon, itertools.cycle((x, y)))]
            for polygon in _polygons(mask[y : y + h, x : x + w])
        ]
        annotations.append(
            {
                'image_id': image_id,
                'category_id': _CATEGORY_IDS[item.name],
                'bbox': [x, y, w, h],
                'area': int(mask.sum()),
                'segmentation': polygons,
                'iscrowd': 0,
            }
        )
    boxes = [annotation['bbox'] for annotation in annotations]
    _write_xml(voc_xml, info, [item.name for item in objects], boxes)
    return info, annotations, _write_crops(out, split, index, image, objects)


def _image_id(split: int, index: int) -> int:
    return 1_000_000 * split + index + 1  # no id or file name is in both splits


def _write_split(out: Path, seed: int, split: int, count: int, processes: int | None) -> None:
    for path in _files(out, split, 1):
        path.parent.mkdir(parents=True, exist_ok=True)
    images: list[dict] = []
    annotations: list[dict] = []
    crops: list[str] = []
    draw = partial(_write_image, out, seed, split)
    scenes = parallel_map(draw, range(count), processes, f'{SPLITS[split]} images')
    for image, items, lines in scenes:
        images.append(image)
        crops += lines
        annotations += [{'id': len(annotations) + k, **item} for k, item in enumerate(items, 1)]
    for path in _voc_lists(out, split):
        voc_masks.write_list(path, [Path(image['file_name']).stem for image in images])
    voc_masks.write_list(_crop_list(out, split), crops)
    path = _annotation_file(out, split)
    path.write_text(
        json.dumps(
            {
                'info': {'description': f'{GENERATOR}, version {VERSION}, seed {seed}'},
                'licenses': [],
                'images': images,
                'annotations': annotations,
                'categories': CATEGORIES,
            }
        )
    )


def _annotation_file(out: Path, split: int) -> Path:
    return out / 'annotations' / f'instances_{SPLITS[split]}2017.json'


def _voc_lists(out: Path, split: int) -> list[Path]:
    folder = out / 'VOC2012' / 'ImageSets'
    return [folder / task / f'{SPLITS[split]}.txt' for task in ('Segmentation', 'Main')]


def _crop_list(out: Path, split: int) -> Path:
    return out / 'imagenet' / 'meta' / f'{SPLITS[split]}.txt'


def _crop_file(out: Path, split: int, index: int, name: str) -> Path:
    file_name = f'{_image_id(split, index):012d}_{name.replace(" ", "_")}.jpg'
    return out / 'imagenet' / SPLITS[split] / name / file_name


def _image_files(out: Path, split: int, index: int) -> list[Path]:
    """Return the files of an image: COCO's image, then VOC's image, mask and boxes."""
    name, folder = f'{_image_id(split, index):012d}', out / 'VOC2012'
    return [
        out / f'{SPLITS[split]}2017' / f'{name}.jpg',
        folder / 'JPEGImages' / f'{name}.jpg',
        folder / 'SegmentationClass' / f'{name}.png',
        folder / 'Annotations' / f'{name}.xml',
    ]


def _files(out: Path, split: int, count: int) -> Iterator[Path]:
    """Yield the files of a split but for the crops."""
    yield _annotation_file(out, split)
    yield _crop_list(out, split)
    yield from _voc_lists(out, split)
    for index in range(count):
        yield from _image_files(out, split, index)


def _is_complete(out: Path, stamp: dict) -> bool:
    """Tell whether the files that a run with this stamp writes are there."""
    for split, name in enumerate(SPLITS):
        if not all(path.exists() for path in _files(out, split, stamp[name])):
            return False
        crops = (line.rpartition(' ')[0] for line in _crop_list(out, split).open())
        if not all((out / 'imagenet' / name / crop).exists() for crop in crops):
            return False
    return True


def _remove(out: Path, stamp: dict) -> None:
    """Remove the files that a run with this stamp may have written."""
    for split, name in enumerate(SPLITS):
        crops = itertools.starmap(
            partial(_crop_file, out, split), itertools.product(range(stamp[name]), CLASSES)
        )
        for path in itertools.chain(_files(out, split, stamp[name]), crops):
            path.unlink(missing_ok=True)


def _read_stamp(out: Path) -> dict | None:
    """Return the stamp in a folder, or None if the folder is missing or empty."""
    try:
        if not any(out.iterdir()):
            return None
        stamp = json.loads((out / STAMP).read_text())
        if stamp['generator'] == GENERATOR:
            return stamp
    except FileNotFoundError:
        if not out.exists():
            return None
    except (NotADirectoryError, ValueError, KeyError, TypeError):
        pass
    raise InputError(
        f'{out} exists and was not made by this generator: delete it or choose another folder'
    )


def _write_stamp(out: Path, stamp: dict) -> None:
    # Atomic, so that an interrupted run leaves a readable stamp.
    AtomicLocalBackend().put(json.dumps(stamp).encode(), out / STAMP)


def make_demo_data(
    out: str | Path, train: int = 400, val: int = 100, seed: int = 0, processes: int | None = None
) -> bool:
    """Write a synthetic dataset in the layouts of COCO 2017, Pascal VOC 2012 and ImageNet.

    The folder gets ``annotations/instances_{train,val}2017.json``, ``train2017/*.jpg``,
    ``val2017/*.jpg`` and a stamp of the arguments, and the same scenes again in ``VOC2012/``:
    ``JPEGImages/*.jpg``, ``SegmentationClass/*.png``, ``Annotations/*.xml`` and the lists
    ``{train,val}.txt`` in ``ImageSets/Segmentation/`` and ``ImageSets/Main/``. The masks have the
    ids 1 to 6 for the classes in the order of ``scenes.CLASSES``. ``imagenet/`` has crops in
    ``{train,val}/CLASS/*.jpg``, for each class in a scene the surroundings of its largest object,
    and the lists ``meta/{train,val}.txt``. Data of other arguments or of an interrupted run are
    replaced, file by file; other files in the folder are left alone.

    Args:
        out: Folder to write.
        train: Number of training images. Defaults to 400.
        val: Number of validation images. Defaults to 100.
        seed: Seed of the scenes, not negative. Defaults to 0.
        processes: Number of processes, without effect on the data. Defaults to one per CPU.

    Returns:
        Whether anything was drawn; False if the folder already holds these data.

    Raises:
        InputError: If a count is not positive or the seed is negative, or if ``out`` exists, is not
            empty and was not made by this function.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     make_demo_data(folder, train=2, val=1, processes=1)
        ...     make_demo_data(folder, train=2, val=1)
        True
        False
    """
    if min(train, val) < 1 or seed < 0:
        raise InputError(
            f'expected train > 0, val > 0 and seed >= 0, got {train}, {val} and {seed}'
        )
    out = Path(out)
    counts = {'train': train, 'val': val}
    stamp = {'generator': GENERATOR, 'version': VERSION, **counts, 'seed': seed}
    done = {**stamp, 'complete': True}
    old = _read_stamp(out)
    if old == done and _is_complete(out, old):
        return False
    out.mkdir(parents=True, exist_ok=True)
    if old is not None:
        _write_stamp(out, {**old, 'complete': False})
        _remove(out, old)
    _write_stamp(out, {**stamp, 'complete': False})
    for split, name in enumerate(SPLITS):
        _write_split(out, seed, split, counts[name], processes)
    _write_stamp(out, done)
    return True
