"""The one reading of annotations, which the datasets, the metrics and the converters share.

What has one obvious meaning is used, what is contradictory is an InputError, and what is left out
is in the report.
"""

import json
import math
import os
import os.path as osp
import re
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from reprlib import repr as shortly
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from pycocotools import mask as coco_mask

from ..errors import InputError, mistaken
from ..images import image_size_of
from .checks import check_size, encoding_of
from .faults import Faults
from .files import ImageFiles, composed
from .report import Report

#: Pixels by which a box may reach beyond its image without a word, as rounded numbers do.
TOLERANCE = 1

NO_AREA = 'boxes without an area'
OUTSIDE = 'boxes outside of their image'
BEYOND = 'boxes that reach beyond their image'
CROWDS = 'crowds (iscrowd 1)'
DIFFICULT = 'objects marked as difficult'
THIN = 'boxes thinner than a pixel'

#: Repairs of the reader: their kind and their meaning.
AS_TEXT = 'numbers written as text', 'read as numbers'
SPELLED = 'file names in another spelling', 'read as those of the files'

Box = tuple[float, float, float, float]


class _Unclear(Exception):
    """A value that has no one meaning."""


def number(value: Any) -> int | float:
    """Return a number that may be written as text.

    Example:
        >>> number(' 10.50 '), number('7'), number(3)
        (10.5, 7, 3)
    """
    if isinstance(value, str):
        text = value.strip()
        try:
            value = int(text) if re.fullmatch(r'[+-]?\d{1,18}', text) else float(text)
        except ValueError:
            raise _Unclear from None
    if type(value) not in (int, float) or not abs(value) < 1e12:  # NaN is not less, either
        raise _Unclear
    return value


def flag(value: Any) -> int:
    """Return 0 or 1 for what may be written as a truth value, a number, text, or not at all."""
    if isinstance(value, str):
        value = {'': 0, 'false': 0, 'no': 0, 'true': 1, 'yes': 1}.get(value.strip().lower(), value)
    flag = 0 if value is None else int(value) if isinstance(value, bool) else number(value)
    if flag not in (0, 1):
        raise _Unclear
    return int(flag)


def _id(value: Any) -> int | str:
    """Return an id that may be a whole number written as text or as a fraction."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if re.fullmatch(r'0|-?[1-9]\d{0,17}', text) else text
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int or abs(value) >= 2**63:  # NumPy could not hold it
        raise _Unclear
    return value


def read_coco(path: str | Path, image_folder: str, report: Report) -> dict[str, Any]:
    """Read a file of COCO's annotations.

    Args:
        path: the JSON file.
        image_folder: where the images are. Only those are opened, for their size, of which the
            file does not say it, or says one that does not fit the boxes.
        report: takes what is left out, and what is used in its one obvious meaning.

    Returns:
        The content of the file: ``images``, ``annotations`` and ``categories`` as pycocotools wants
        them. Boxes without an area and those outside of their image are left out. A file that needs
        nothing is returned as it is.

    Raises:
        InputError: if the file is not whole, or if it contradicts itself, naming the annotation.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> content = dict(
        ...     images=[dict(id=1, file_name='1.jpg', width=64, height=48)],
        ...     categories=[dict(id=1, name='cat')],
        ...     annotations=[dict(id=1, image_id=1, category_id=1, bbox=['5', '5', '20', '9.5'])],
        ... )
        >>> report = Report('')
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, 'train.json')
        ...     _ = path.write_text(json.dumps(content))
        ...     read_coco(path, '', report)['annotations']
        [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [5, 5, 20, 9.5], 'area': 190.0, ...
        >>> list(report.counts('used'))
        ['areas that are missing, or 0', 'iscrowd that is missing', 'numbers written as text']
    """
    return _CocoReader(path, image_folder, report).read()


def _load_json(path: str | Path) -> Any:
    try:
        content = Path(path).read_bytes()
        parsed = json.loads(content)  # whichever of UTF-8, -16 and -32
        # Of keys that come twice Python takes the last.
        if any(content.count(b'"%s"' % key) > 1 for key in (b'images', b'annotations')):
            json.loads(content, object_pairs_hook=_without_twins)
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error}): restore the file') from error
    except (ValueError, RecursionError) as error:
        reason = mistaken(content[:100]) or error
        raise InputError(
            f'{path} is not a whole file of COCO annotations ({reason}): export it again, as JSON '
            'in UTF-8'
        ) from error
    return parsed


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    for key in ('images', 'annotations', 'categories'):
        if len(pairs) > len(result) and sum(name == key for name, _ in pairs) > 1:
            raise ValueError(f'the key {key!r} is there twice')
    return result


class _CocoReader:
    """Reads one file; see :func:`read_coco`."""

    def __init__(self, path: str | Path, image_folder: str, report: Report) -> None:
        self.path, self.folder, self.report = path, image_folder, report
        self.repairs: Counter[tuple[str, str]] = Counter()  # by kind and meaning
        self.images: dict[int | str, dict] = {}
        self.names: dict[int | str, str] = {}  # of the categories
        self.seen: dict[int, dict] = {}  # annotations
        self.beyond: dict[int, list] = {}  # boxes that reach beyond their image, by annotation
        self.compared: set[int | str] = set()  # images whose size has been read
        self.files = ImageFiles(image_folder)
        self.next_id = 0

    def read(self) -> dict[str, Any]:
        content = _load_json(self.path)
        if not isinstance(content, dict):
            hint = ', as a file of results does' if isinstance(content, list) else ''
            raise self._not_whole(f'it holds a {type(content).__name__}{hint}')
        content.setdefault('annotations', [])  # COCO's files of test images have none
        for key in ('images', 'categories', 'annotations'):
            value = content.get(key)
            if not isinstance(value, list) or not all(type(item) is dict for item in value):
                raise self._not_whole(f'it has no list of {key}')
            if not value and key != 'annotations':
                raise self._not_whole(f'its list of {key} is empty')
        content['images'] = self._read_images(content['images'])
        content['categories'] = self._read_categories(content['categories'], content['annotations'])
        content['annotations'] = self._read_annotations(content['annotations'])
        for (kind, meaning), count in sorted((+self.repairs).items()):
            self.report.used(kind, str(self.path), message=meaning, count=count)
        return content

    def _not_whole(self, reason: str) -> InputError:
        return InputError(
            f'{self.path} is not a whole file of COCO annotations ({reason}): it needs images, '
            'annotations and categories'
        )

    def _error(self, what: str, fault: str, remedy: str) -> InputError:
        return InputError(f'{self.path}: {what} {fault}: {remedy}')

    def _value(self, entry: dict, key: str, what: str, read: Callable[[Any], Any]) -> Any:
        """Return what a value of an entry means."""
        try:
            result = read(entry.get(key))
        except _Unclear:
            fault = f'has the {key} {shortly(entry[key])}' if key in entry else f'has no {key}'
            raise self._error(what, fault, f'correct its {key}, or take it out') from None
        if isinstance(entry.get(key), str) and not isinstance(result, str):
            self.repairs[AS_TEXT] += 1
        return result

    def _read_images(self, images: list[dict]) -> list[dict]:
        faults = Faults()
        for place, image in enumerate(images, 1):
            with faults.of_a_part():
                self._read_image(image, place)
        faults.refuse()
        self._want_one_type(self.images, 'images')
        files = Counter(image['file_name'] for image in self.images.values())
        for name, count in files.items() if len(files) < len(self.images) else ():
            if count > 1:
                self.report.used('images under several ids', name, message='each by itself')
        return images if len(self.images) == len(images) else list(self.images.values())

    def _read_image(self, image: dict, place: int) -> None:
        key = image['id'] = self._value(image, 'id', f'image {place} of the list', _id)
        name, what = image.get('file_name'), f'image {key!r}'
        if not isinstance(name, str) or not _is_file_name(name):
            fault = 'has no file_name' if name is None else f'has the file_name {shortly(name)}'
            raise self._error(what, fault, 'name its file, or take it out')
        image['file_name'] = spelled = self.files.spelled(name)
        if spelled != name:
            name = spelled
            self.repairs[SPELLED] += 1
        first = self.images.get(key, image)
        if first is not image:
            if first['file_name'] != name:
                names = f'{first["file_name"]} and {name}'
                raise self._error(what, f'is both {names}', 'give each an id of its own')
            self.repairs['images that are listed twice', 'used once'] += 1
        self._read_size(image)
        self.images.setdefault(key, image)

    def _path_of(self, image: dict) -> str:
        return osp.join(self.folder, image['file_name'])

    def _read_size(self, image: dict) -> None:
        for key in ('height', 'width'):
            value = image.get(key)
            if type(value) is int and value > 0:
                continue
            try:
                size = int(number(value))
            except _Unclear:
                size = 0
            if size < 1:  # missing, null, 0 or no number
                height, width = image_size_of(self._path_of(image))
                image.update(height=height, width=width)
                self.repairs['image sizes that are missing', 'read from the images'] += 1
                return
            image[key] = size
            self.repairs[AS_TEXT] += isinstance(value, str)

    def _want_one_type(self, ids: Collection[int | str], what: str) -> None:
        """Refuse ids of which some are numbers and some are text: NumPy would make all text."""
        texts = [key for key in ids if isinstance(key, str)]
        if 0 < len(texts) < len(ids):
            raise self._error(
                f'the ids of {what}',
                f'are numbers but for some, such as {texts[0]!r}',
                'use numbers',
            )

    def _read_categories(self, categories: list[dict], annotations: list[dict]) -> list[dict]:
        for place, category in enumerate(categories, 1):
            key = category['id'] = self._value(category, 'id', f'category {place} of the list', _id)
            name = category.get('name')
            if not isinstance(name, str) or not name.strip():
                raise self._error(f'category {key!r}', f'has the name {shortly(name)}', 'name it')
            category['name'] = composed(name.strip())
            first = self.names.setdefault(key, category['name'])
            if first != category['name']:
                names = f'{first!r} and {category["name"]!r}'
                raise self._error(f'category {key!r}', f'is both {names}', 'give each its id')
        self._want_one_type(self.names, 'categories')
        if len(set(self.names.values())) < len(self.names):
            self._leave_out_namesakes(annotations)
        by_id = {
            category['id']: category for category in categories if category['id'] in self.names
        }
        return categories if len(by_id) == len(categories) else list(by_id.values())

    def _leave_out_namesakes(self, annotations: list[dict]) -> None:
        """Leave out categories without an annotation that have the name of another one."""
        used = {str(annotation.get('category_id')).strip() for annotation in annotations}
        chosen: dict[str, int | str] = {}
        for key, name in self.names.items():
            if name in chosen and str(chosen[name]) in used and str(key) in used:
                raise self._error(
                    f'categories {chosen[name]!r} and {key!r}',
                    f'are both {name!r}',
                    'give the annotations of one the category_id of the other',
                )
            if name not in chosen or str(key) in used:
                chosen[name] = key
        for key in self.names.keys() - set(chosen.values()):
            self.report.left_out(
                'empty categories with the name of another', str(self.path), key, self.names[key]
            )
        self.names = {key: name for name, key in chosen.items()}

    def _read_annotations(self, annotations: list[dict]) -> list[dict]:
        images, names, seen = self.images, self.names, self.seen
        kept, faults = [], Faults()
        for annotation in annotations:
            # All that a clean annotation takes: COCO has 860,000 of them.
            try:
                x, y, w, h = annotation['bbox']
                key, image = annotation['id'], images[annotation['image_id']]
                width, height = image['width'], image['height']
                clean = (
                    w > 0
                    and h > 0
                    and -TOLERANCE <= x < width
                    and -TOLERANCE <= y < height
                    and 0 < x + w <= width + TOLERANCE
                    and 0 < y + h <= height + TOLERANCE
                    and 0 < annotation['area'] < math.inf
                    and annotation['iscrowd'] in (0, 1)
                    and annotation['category_id'] in names
                    and type(key) is int
                    and 0 < key < 2**63
                    and key not in seen
                    and 'ignore' not in annotation
                )
            except (KeyError, TypeError, ValueError):
                clean = False
            if not clean:
                with faults.of_a_part():
                    clean = self._repair(annotation, annotations)
            if clean:
                seen[annotation['id']] = annotation
                kept.append(annotation)
        faults.refuse()
        self._check_boxes(kept)
        return kept if len(kept) < len(annotations) else annotations

    def _repair(self, annotation: dict, annotations: list[dict]) -> bool:
        """Read an annotation that is not clean, and return whether it is to be used."""
        what = f'annotation {shortly(annotation["id"])}' if 'id' in annotation else 'an annotation'
        image_id = self._value(annotation, 'image_id', what, _id)
        category = self._value(annotation, 'category_id', what, _id)
        if image_id not in self.images:
            self.report.left_out(
                'annotations of images that are not listed',
                str(self.path),
                annotation.get('id'),
                f'image {image_id!r}',
            )
            return False
        if category not in self.names:
            raise self._error(
                what,
                f'has the category_id {category!r}, which none of the {len(self.names)} '
                'categories has',
                'add the category, or correct the annotation',
            )
        image = self.images[image_id]
        box = self._read_box(annotation, what, image)
        _, _, w, h = box
        if w < 0 or h < 0:
            raise self._error(
                what, f'has the bbox {list(box)}', "COCO's are [x, y, width, height] in pixels"
            )
        key = self._read_id(annotation.get('id'))
        first = None if key is None else self.seen.get(key)
        if first is not None and (first['image_id'], first['category_id'], first['bbox']) == (
            *(image_id, category),
            list(box),
        ):
            self.repairs['annotations that are there twice', 'used once'] += 1
            return False
        annotation.update(image_id=image_id, category_id=category, bbox=list(box))
        if key is None or first is not None:
            key = self._new_id(annotations)
        annotation['id'] = key
        self._read_area(annotation, w * h)
        if annotation.get('iscrowd') is None:
            annotation['iscrowd'] = 0
            self.repairs['iscrowd that is missing', 'read as 0'] += 1
        annotation['iscrowd'] = self._value(annotation, 'iscrowd', what, flag)
        if self._value(annotation, 'ignore', what, flag):
            annotation['iscrowd'] = 1  # pycocotools knows no ignore of its own
            self.repairs['objects marked as ignored', 'read as crowds'] += 1
        annotation.pop('ignore', None)
        return self._fit(annotation, image)

    def _read_box(self, annotation: dict, what: str, image: dict) -> Box:
        value = annotation.get('bbox')
        if not value:
            box = _box_of(annotation.get('segmentation'), image)
            if box:
                self.repairs['boxes that are missing', 'those of the segmentation'] += 1
                return box
        try:
            if not isinstance(value, list):
                raise _Unclear
            x, y, w, h = map(number, value)
        except (_Unclear, ValueError):
            fault = f'has the bbox {shortly(value)}' if 'bbox' in annotation else 'has no bbox'
            raise self._error(
                what, fault, 'write [x, y, width, height] in pixels, or take it out'
            ) from None
        self.repairs[AS_TEXT] += any(isinstance(item, str) for item in value)
        return x, y, w, h

    def _read_id(self, value: Any) -> int | None:
        """Return the id of an annotation, or None for one that pycocotools could not use."""
        try:
            key = _id(value)
        except _Unclear:
            return None
        # pycocotools takes a match with the annotation 0 for none.
        return key if isinstance(key, int) and key != 0 else None

    def _new_id(self, annotations: list[dict]) -> int:
        self.repairs['annotation ids that are missing, text, 0 or not unique', 'new ones'] += 1
        if not self.next_id:
            ids = (item.get('id') for item in annotations)
            self.next_id = 1 + max((key for key in map(self._read_id, ids) if key), default=0)
        self.next_id += 1
        return self.next_id - 1

    def _read_area(self, annotation: dict, of_box: float) -> None:
        try:
            area = number(annotation.get('area'))
        except _Unclear:
            area = 0
        if area > 0:
            self.repairs[AS_TEXT] += isinstance(annotation['area'], str)
        else:
            area = of_box
            self.repairs['areas that are missing, or 0', 'width x height'] += 1
        annotation['area'] = area

    def _fit(self, annotation: dict, image: dict) -> bool:
        """Clip a box that reaches beyond its image, and return whether something is left."""
        x, y, w, h = box = annotation['bbox']
        width, height = image['width'], image['height']
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        within = (
            min(x, y) >= -TOLERANCE and x + w <= width + TOLERANCE and y + h <= height + TOLERANCE
        )
        path, key = self._path_of(image), annotation['id']
        if not within:
            self._compare_size(image)
            self.beyond[key] = box
        if w == 0 or h == 0 or left >= right or top >= bottom:
            kind = OUTSIDE if w and h else NO_AREA
            self.beyond.pop(key, None)
            self.report.left_out(kind, path, key, str(box), self.names[annotation['category_id']])
            return False
        if not within:
            clipped = [left, top, right - left, bottom - top]
            self.report.used(BEYOND, path, key, f'{clipped}, the part inside, for {box}')
            inside = (right - left) * (bottom - top)
            annotation.update(bbox=clipped, area=min(annotation['area'], inside))
        return True

    def _compare_size(self, image: dict) -> None:
        """Compare what the file says of an image with the image, if that is there."""
        if image['id'] not in self.compared:
            self.compared.add(image['id'])
            path = self._path_of(image)
            if osp.isfile(path):
                check_size(path, image_size_of(path), (image['height'], image['width']))

    def _check_boxes(self, annotations: list[dict]) -> None:
        """Refuse boxes that all are in other units or of another form than COCO's."""
        if annotations and all(max(item['bbox']) <= 1.01 for item in annotations):
            raise self._error(
                f'annotation {annotations[0]["id"]}',
                f'has the bbox {annotations[0]["bbox"]}, and all {len(annotations)} boxes lie '
                'between 0 and 1',
                "they look like shares of the image's sides; multiply them by its width and height",
            )
        boxes = [
            (self.beyond.get(item['id'], item['bbox']), self.images[item['image_id']])
            for item in annotations
            if self.beyond
        ]
        if 2 * len(self.beyond) > max(len(boxes), 2) and all(
            x < right <= image['width'] + TOLERANCE and y < bottom <= image['height'] + TOLERANCE
            for (x, y, right, bottom), image in boxes
        ):
            key, box = next(iter(self.beyond.items()))
            raise self._error(
                f'annotation {key}',
                f'has the bbox {box}, which reaches beyond its image, as those of '
                f'{len(self.beyond)} annotations do',
                'they look like corners; write [x, y, width, height]',
            )


def _is_file_name(name: str) -> bool:
    try:
        return bool(name.strip()) and b'\0' not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _box_of(segmentation: Any, image: dict) -> Box | None:
    """Return the box around a segmentation, or None if there is none."""
    try:
        if isinstance(segmentation, dict):
            rle, size = segmentation, [image['height'], image['width']]
            if isinstance(rle['counts'], list):
                if sum(rle['counts']) != size[0] * size[1]:
                    return None
                rle = coco_mask.frPyObjects(rle, *size)
            x, y, w, h = coco_mask.toBbox(rle).tolist()
            if list(segmentation['size']) != size or x + w > size[1] or y + h > size[0]:
                return None  # of another image, or broken
        else:
            points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
            (x, y), (w, h) = points.min(0).tolist(), np.ptp(points, 0).tolist()
        return number(x), number(y), number(w), number(h)
    except Exception:  # of the type that pycocotools or NumPy raises for an unknown form
        return None


class VocObject(NamedTuple):
    """An object of an annotation in the XML format of Pascal VOC.

    Attributes:
        place: from 1, in the file.
        name: of the class.
        corners: xmin, ymin, xmax and ymax as they are written.
        difficult: 0 or 1.
    """

    place: int
    name: str
    corners: Box
    difficult: int


class VocAnnotation(NamedTuple):
    """An annotation in the XML format of Pascal VOC.

    Attributes:
        filename: of the image, as it is written, or ''.
        size: height and width in pixels, or None if they are missing or 0.
        objects: the objects.
    """

    filename: str
    size: tuple[int, int] | None
    objects: list[VocObject]


def read_voc(path: str | Path) -> VocAnnotation:
    """Read an annotation in the XML format of Pascal VOC.

    Args:
        path: the XML file.

    Raises:
        InputError: if the file is not whole, or if it contradicts itself, naming the object.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> text = '''<annotation><filename>1.png</filename><object><name> cat </name><bndbox>
        ...     <xmin>2</xmin><ymin>2.0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
        ...     </annotation>'''
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, '1.xml')
        ...     _ = path.write_text(text)
        ...     read_voc(path)
        VocAnnotation(filename='1.png', size=None, objects=[VocObject(place=1, name='cat',
        corners=(2, 2.0, 9, 9), difficult=0)])
    """
    root = _parse_xml(path)
    objects = [_read_object(path, *item) for item in enumerate(root.iter('object'), 1)]
    if _boxes_of_none(root):
        raise _not_whole(path, 'it has a bndbox that belongs to no object')
    return VocAnnotation(_text(root, 'filename'), _voc_size(path, root), objects)


def _boxes_of_none(root: ElementTree.Element) -> bool:
    """Tell whether there are boxes that belong to no object."""
    within = sum(len([*item.iter('bndbox')]) for item in root.iter('object'))
    return len([*root.iter('bndbox')]) > within


def _parse_xml(path: str | Path) -> ElementTree.Element:
    try:
        content = Path(path).read_bytes()
        root = ElementTree.fromstring(_decode_xml(content))
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error}): restore the file') from error
    # LookupError for an unknown encoding.
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise _not_whole(path, mistaken(content[:100]) or str(error)) from error
    for element in root.iter():  # without namespaces, and in whatever case
        element.tag = element.tag.rpartition('}')[2].lower()
    if root.tag != 'annotation':
        raise _not_whole(path, f'its root is <{root.tag}>')
    return root


def _decode_xml(content: bytes) -> str:
    """Decode a file as it declares, or as UTF-8 if that cannot be: editors may not correct it."""
    # expat itself knows few encodings, and those that take several bytes not at all.
    declared = re.match(rb'<\?xml[^>]*encoding=["\']([\w.-]+)', content)
    # What can be read as ASCII up to here is not in UTF-16.
    if declared and not declared[1].lower().startswith(b'utf'):
        with suppress(UnicodeDecodeError):
            return content.decode(declared[1].decode())
    return content.decode(encoding_of(content))


def _not_whole(path: str | Path, reason: str) -> InputError:
    return InputError(
        f'{path} is not a whole annotation of VOC ({reason}): correct it, or take it out of the '
        'list of images'
    )


def _text(element: ElementTree.Element | None, name: str) -> str:
    return ('' if element is None else element.findtext(name) or '').strip()


def _voc_size(path: str | Path, root: ElementTree.Element) -> tuple[int, int] | None:
    size = root.find('size')
    texts = [_text(size, name) or '0' for name in ('height', 'width')]
    try:
        height, width = (int(number(text)) for text in texts)
    except _Unclear:
        raise _not_whole(path, f'its size is {" x ".join(texts)}') from None
    return (height, width) if height > 0 and width > 0 else None


def _read_object(path: str | Path, place: int, element: ElementTree.Element) -> VocObject:
    what, name = f'object {place}', composed(_text(element, 'name'))
    if not name:
        raise _not_whole(path, f'{what} has no name')
    box = element.find('bndbox')
    if box is None:
        raise _not_whole(path, f'{what}, {name!r}, has no bndbox')
    values = {key: _text(box, key) for key in ('xmin', 'ymin', 'xmax', 'ymax')}
    for key, text in values.items():
        try:
            number(text)
        except _Unclear:
            fault = f'the {key} {text!r}' if text else f'no {key}'
            raise _not_whole(path, f'{what}, {name!r}, has {fault}') from None
    left, top, right, bottom = map(number, values.values())
    if right < left or bottom < top:
        raise _not_whole(
            path, f'{what}, {name!r}, has its corners exchanged: {left}, {top}, {right}, {bottom}'
        )
    try:
        difficult = flag(_text(element, 'difficult'))
    except _Unclear:
        raise _not_whole(path, f'{what}, {name!r}, has an unknown value of difficult') from None
    return VocObject(place, name, (left, top, right, bottom), difficult)
