"""COCO detection data that says what is wrong with it."""

import os
import os.path as osp
from json import JSONDecodeError

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.api_wrappers import COCO

from ..errors import InputError
from ..models.edgenext import MIN_SIZE
from ..registry import DATASETS

_REMEDY = (
    'Set the environment variable COCO_ROOT (or data_root in the config) to the folder that holds '
    'annotations/, train2017/ and val2017/, or draw demo data: python tools/make_demo_data.py'
)


@DATASETS.register_module()
class CocoDataset(MMDetCocoDataset):
    """mmdet's CocoDataset, which checks its files and names the one at fault.

    Raises:
        InputError: if the data root, the annotation file or the image folder is missing or empty,
            if the annotated categories are not the classes of the data set, if no image is left
            to use, or if an image is smaller than 32 pixels or cannot be read.
    """

    def load_data_list(self):
        self._check_files()
        return super().load_data_list()

    def COCOAPI(self, ann_file):
        """Read an annotation file; mmdet's loading calls it by this name."""
        try:
            coco = COCO(ann_file)
            self._check_categories([category['name'] for category in coco.dataset['categories']])
        except (AssertionError, KeyError, TypeError, UnicodeDecodeError, JSONDecodeError) as error:
            raise InputError(f'{ann_file} is not a whole file of COCO annotations') from error
        return coco

    def filter_data(self):
        data_list = super().filter_data()
        if not data_list:
            raise InputError(f'{self.ann_file} has no image with a box of the classes to learn')
        for info in data_list:
            if min(info['height'], info['width']) < MIN_SIZE:
                raise InputError(
                    f'{info["img_path"]} has {info["height"]}x{info["width"]} pixels (height x '
                    f'width) and needs a side of at least {MIN_SIZE}: enlarge it, or take it out '
                    f'of {self.ann_file}'
                )
        return data_list

    def prepare_data(self, idx):
        try:
            return super().prepare_data(idx)
        except (OSError, SyntaxError) as error:  # Pillow's word for a broken PNG is SyntaxError
            path = self.get_data_info(idx)['img_path']
            raise InputError(
                f'{path} cannot be read as an image ({error}): restore the file, or take it out '
                f'of {self.ann_file}'
            ) from error

    def _check_files(self):
        images = self.data_prefix['img']
        if self.data_root and not osp.isdir(self.data_root):
            raise InputError(f'the data root {self.data_root} is not a folder. {_REMEDY}')
        if not osp.isfile(self.ann_file):
            raise InputError(f'the annotation file {self.ann_file} does not exist. {_REMEDY}')
        if not osp.isdir(images) or not any(os.scandir(images)):
            raise InputError(f'the image folder {images} is missing or empty. {_REMEDY}')

    def _check_categories(self, categories):
        classes = list(self.metainfo['classes'])
        annotated = [name for name in categories if name in classes]
        missing = [name for name in classes if name not in annotated]
        if missing:
            raise InputError(
                f'{self.ann_file} lacks {len(missing)} of the {len(classes)} classes of the data '
                f'set, such as {", ".join(map(repr, missing[:3]))}: set metainfo.classes of the '
                'data set (and num_classes of the head) to the categories of the file'
            )
        if annotated != classes:
            raise InputError(
                f'{self.ann_file} lists the classes in another order than the data set, which '
                f'would give boxes the wrong names: set metainfo.classes to {tuple(annotated)}'
            )
