"""A dataset of boxes in the XML format of Pascal VOC that says what is wrong with its files."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import XMLDataset as MMDetXMLDataset
from mmdet.datasets.api_wrappers import COCO

from ...errors import InputError
from ...images import image_size_of
from ...registry import DATASETS
from .. import annotations
from ..checks import check_size, read_lines, require_file
from ..faults import Faults
from ..files import ImageFiles
from ..report import OTHER_CLASSES
from .base import CheckedDetDataset
from .coco_metric import to_api


@DATASETS.register_module()
class XMLDataset(CheckedDetDataset, MMDetXMLDataset):
    """mmdet's XMLDataset, which reads files as people have them and names what is wrong.

    An image is the file with the name of its annotation and any suffix of an image, or the one that
    the annotation names. What else is used, left out and refused is in docs/custom_data.md.

    Args:
        img_suffix: suffixes of images, one or several. Defaults to those that can be read.
        allow_missing_classes: see :class:`~edgenext_mm.datasets.checks.CheckedDataset`.
        kwargs: arguments of mmdet's XMLDataset.

    Raises:
        InputError: if the data root, the list of images, an image or an annotation file is missing,
            if an annotation file is broken or contradicts itself, if there is nothing to learn in
            training, or if an image cannot be read or is not of the size that its annotation says.

    Example:
        >>> XMLDataset(data_root='nowhere', ann_file='train.txt')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the data root nowhere is not a folder. Set data_root, ...
    """

    remedy = 'Set data_root, ann_file and data_prefix of the dataset in the config'

    def __init__(self, img_suffix: str | Sequence[str] | None = None, **kwargs: Any) -> None:
        self.img_suffix = img_suffix
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Check the files, and list the images with their boxes."""
        self.check_data_root()
        require_file('list of images', self.ann_file, self.remedy)
        if not self.metainfo.get('classes'):
            raise InputError(
                f'the dataset of {self.ann_file} has no metainfo.classes: list the names of the '
                'classes'
            )
        self.cat2label = {name: label for label, name in enumerate(self.metainfo['classes'])}
        names = read_lines(self.ann_file)
        if not names:
            raise InputError(f'the list of images {self.ann_file} is empty. {self.remedy}')
        self._images = ImageFiles(osp.join(self.sub_data_root, self.img_subdir), self.img_suffix)
        self._files = ImageFiles(osp.join(self.sub_data_root, self.ann_subdir), known=('.xml',))
        names = self.without_twins([self._images.plain(self._files.plain(name)) for name in names])
        self._largest = 0.0
        data_list, faults = [], Faults()
        for name in names:
            with faults.of_a_part():
                data_list.append(self.parse_data_info({'img_id': name}))
        faults.refuse()
        del self._images, self._files
        if 0 < self._largest <= 1.01:
            raise InputError(
                f'all boxes of {self.ann_file} lie between 0 and 1: they look like shares of the '
                "image's sides; multiply them by its width and height"
            )
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> Any:
        """Read the annotation of an image; see mmdet's method for the keys of what is returned."""
        name = raw_data_info['img_id']
        path = self._annotation_file(name)
        annotation = annotations.read_voc(path)
        image = self._images.find(name, annotation.filename)
        if image is None:
            raise InputError(
                f'{self._images.path_of(name)} does not exist, nor with another suffix: add it, or '
                f'take {name} out of {self.ann_file}'
            )
        height, width = annotation.size or image_size_of(image)
        if annotation.size is None:
            self.report.used('image sizes that are missing', path, message='read from the images')
        info = dict(img_path=image, img_id=name, xml_path=path, height=height, width=width)
        boxes = [self._read_instance(item, info) for item in annotation.objects]
        return dict(info, instances=[box for box in boxes if box])

    def _annotation_file(self, name: str) -> str:
        # Where there are several images of a name, a list has their suffixes.
        path = self._files.find(name) or self._files.find(osp.splitext(name)[0])
        if path is None:
            raise InputError(
                f'{self._files.path_of(name)} does not exist: add it, or take {name} out of '
                f'{self.ann_file}'
            )
        return path

    def _read_instance(self, item: annotations.VocObject, info: dict) -> dict | None:
        """Return mmdet's entry of an object, or None if it is left out."""
        self._largest = max(self._largest, *item.corners)
        # VOC counts pixels from 1, and mmdet cuts off fractions.
        box = [int(value) - 1 for value in item.corners]
        left, top, right, bottom = box
        height, width = info['height'], info['width']
        inside = [max(left, 0), max(top, 0), min(right, width), min(bottom, height)]
        edge = annotations.TOLERANCE
        within = min(left, top) >= -edge and right <= width + edge and bottom <= height + edge
        if not within and osp.isfile(info['img_path']):
            check_size(info['img_path'], image_size_of(info['img_path']), (height, width))
        kind = None
        if left >= right or top >= bottom:
            kind = annotations.NO_AREA
        elif inside[0] >= inside[2] or inside[1] >= inside[3]:
            kind = annotations.OUTSIDE
        elif item.name not in self.cat2label:
            kind = OTHER_CLASSES
        if kind:
            corners = str(list(item.corners))
            self.report.left_out(kind, info['xml_path'], item.place, corners, item.name)
            return None
        if not within:
            self.report.used(
                annotations.BEYOND, info['xml_path'], item.place, f'{inside}, the part inside'
            )
            box = inside
        # mmdet's option, in training.
        small = min(right - left, bottom - top) < (self.bbox_min_size or 0)
        if item.difficult or small:
            kind = annotations.DIFFICULT if item.difficult else 'boxes below bbox_min_size'
            self.report.left_out(kind, info['xml_path'], item.place, label=item.name)
        return dict(
            ignore_flag=int(bool(item.difficult or small)),
            bbox=box,
            bbox_label=self.cat2label[item.name],
        )

    def ground_truth(self) -> COCO:
        """Return the annotations for an evaluation, as mmdet makes them of the boxes."""
        infos = [self.get_data_info(index) for index in range(len(self))]
        items = [
            (info['img_id'], instance, instance['bbox'])
            for info in infos
            for instance in info['instances']
        ]
        content = dict(
            images=[
                dict(
                    id=info['img_id'],
                    width=info['width'],
                    height=info['height'],
                    file_name=osp.basename(info['img_path']),
                )
                for info in infos
            ],
            categories=[dict(id=i, name=name) for i, name in enumerate(self.metainfo['classes'])],
            annotations=[
                dict(
                    id=key,
                    image_id=image_id,
                    bbox=[left, top, right - left, bottom - top],
                    iscrowd=instance['ignore_flag'],
                    category_id=instance['bbox_label'],
                    area=(right - left) * (bottom - top),
                )
                for key, (image_id, instance, (left, top, right, bottom)) in enumerate(items, 1)
            ],
        )
        return to_api(content)
