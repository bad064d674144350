"""COCO detection data that says what is wrong with it."""

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.api_wrappers import COCO

from ...errors import InputError
from ...models.edgenext import MIN_SIZE
from ...registry import DATASETS
from ..checks import CheckedDataset, coco_errors, require_file, require_folder


@DATASETS.register_module()
class CocoDataset(CheckedDataset, MMDetCocoDataset):
    """mmdet's CocoDataset, which checks its files and names the one at fault.

    Raises:
        InputError: if the data root, the annotation file or the image folder is missing or empty,
            if the annotated categories are not the classes of the data set, if no image is left
            to use, or if an image is smaller than 32 pixels or cannot be read.
    """

    remedy = (
        'Set the environment variable COCO_ROOT (or data_root in the config) to the folder that '
        'holds annotations/, train2017/ and val2017/, or draw demo data: '
        'python tools/make_demo_data.py'
    )

    def load_data_list(self):
        self.check_data_root()
        require_file('annotation file', self.ann_file, self.remedy)
        require_folder('image folder', self.data_prefix['img'], self.remedy)
        return super().load_data_list()

    def COCOAPI(self, ann_file):
        """Read an annotation file; mmdet's loading calls it by this name."""
        with coco_errors(ann_file):
            coco = COCO(ann_file)
            self._check_categories([category['name'] for category in coco.dataset['categories']])
        return coco

    def filter_data(self):
        return check_images(super().filter_data(), self.ann_file)

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


def check_images(data_list, ann_file):
    """Return a filtered data list of mmdet if it can be used.

    Raises:
        InputError: if it is empty, or if an image is too small for the backbone.
    """
    if not data_list:
        raise InputError(f'{ann_file} has no image with a box of the classes to learn')
    for info in data_list:
        if min(info['height'], info['width']) < MIN_SIZE:
            raise InputError(
                f'{info["img_path"]} has {info["height"]}x{info["width"]} pixels (height x width) '
                f'and needs a side of at least {MIN_SIZE}: enlarge it, or take it out of {ann_file}'
            )
    return data_list
