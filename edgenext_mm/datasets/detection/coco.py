"""A dataset of COCO boxes that says what is wrong with its files."""

from typing import Any

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.api_wrappers import COCO

from ...errors import InputError
from ...registry import DATASETS
from .. import annotations
from ..checks import nearest, require_file, require_folder
from ..report import OTHER_CLASSES, Report
from .base import CheckedDetDataset
from .coco_metric import to_api


@DATASETS.register_module()
class CocoDataset(CheckedDetDataset, MMDetCocoDataset):
    """mmdet's CocoDataset, which reads files as people have them and names what is wrong.

    What is used, left out and refused is in docs/custom_data.md.

    Args:
        allow_missing_classes: see :class:`~edgenext_mm.datasets.checks.CheckedDataset`.
        kwargs: arguments of mmdet's CocoDataset.

    Raises:
        InputError: if the data root, the annotation file or the image folder is missing or empty,
            if the annotated categories are not the classes of the dataset, if an annotation
            contradicts itself, if there is nothing to learn in training, or if an image cannot be
            read or is not of the size that its annotation says.

    Example:
        >>> CocoDataset(data_root='nowhere', ann_file='train.json')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the data root nowhere is not a folder. Set the ...
    """

    remedy = (
        'Set the environment variable COCO_ROOT (or data_root in the config) to the folder that '
        'holds annotations/, train2017/ and val2017/, or draw demo data: '
        'python tools/make_demo_data.py'
    )

    def load_data_list(self) -> list[dict]:
        """Check the files, and list the images with their boxes."""
        self.check_data_root()
        require_file('annotation file', self.ann_file, self.remedy)
        if 'img' not in self.data_prefix:
            raise InputError(
                f'data_prefix of the dataset is {dict(self.data_prefix)}: set its key img to the '
                "folder of the images, or to '' if the file has their whole paths"
            )
        if self.data_prefix['img']:
            require_folder('image folder', self.data_prefix['img'], self.remedy)
        return super().load_data_list()

    def COCOAPI(self, ann_file: str) -> COCO:
        """Read an annotation file and check its categories; mmdet calls this name."""
        content = self._read(self.report)
        self._categories = {entry['id']: entry['name'] for entry in content['categories']}
        self._check_categories(list(self._categories.values()))
        return to_api(content)

    def parse_data_info(self, raw_data_info: dict) -> Any:
        """List an image with its boxes as mmdet does, and report which boxes that leaves out."""
        info = super().parse_data_info(raw_data_info)
        for annotation in raw_data_info['raw_ann_info']:
            category, (_, _, w, h) = annotation['category_id'], annotation['bbox']
            if w < 1 or h < 1:
                kind = annotations.THIN
            elif category not in self.cat2label:
                kind = OTHER_CLASSES
            elif annotation['iscrowd']:
                kind = annotations.CROWDS
            else:
                continue
            self.report.left_out(
                kind, info['img_path'], annotation['id'], label=self._categories[category]
            )
        return info

    def ground_truth(self) -> COCO:
        """Return the annotations for an evaluation, which are all of the file's."""
        return to_api(self._read(Report('')))

    def _read(self, report: Report) -> dict[str, Any]:
        return annotations.read_coco(self.ann_file, self.data_prefix.get('img', ''), report)

    def _check_categories(self, categories: list[str]) -> None:
        classes = list(self.metainfo['classes'])
        annotated = [name for name in categories if name in classes]
        missing = [name for name in classes if name not in annotated]
        if missing:
            raise InputError(
                f'{self.ann_file} lacks {len(missing)} of the {len(classes)} classes of the '
                f'dataset, such as {", ".join(map(repr, missing[:3]))}'
                f'{nearest(missing[0], categories)}: set metainfo.classes of the dataset (and '
                'num_classes of the head) to the categories of the file'
            )
        if annotated != classes:
            raise InputError(
                f'{self.ann_file} lists the classes in another order than the dataset, which '
                f'would give boxes the wrong names: set metainfo.classes to {tuple(annotated)}'
            )
