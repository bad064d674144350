"""A dataset of COCO boxes that says what is wrong with its files."""

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
            if the annotated categories are not the classes of the dataset, if no image is left
            to use, or if an image is smaller than 32 pixels or cannot be read.

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
        require_folder('image folder', self.data_prefix['img'], self.remedy)
        return super().load_data_list()

    def COCOAPI(self, ann_file: str) -> COCO:
        """Read an annotation file and check its categories; mmdet calls this name."""
        with coco_errors(ann_file):
            coco = COCO(ann_file)
            self._check_categories([category['name'] for category in coco.dataset['categories']])
        return coco

    def filter_data(self) -> list[dict]:
        """Filter the images as mmdet does, and check those that are left."""
        return check_images(super().filter_data(), self.ann_file)

    def _check_categories(self, categories: list[str]) -> None:
        classes = list(self.metainfo['classes'])
        annotated = [name for name in categories if name in classes]
        missing = [name for name in classes if name not in annotated]
        if missing:
            raise InputError(
                f'{self.ann_file} lacks {len(missing)} of the {len(classes)} classes of the '
                f'dataset, such as {", ".join(map(repr, missing[:3]))}: set metainfo.classes of '
                'the dataset (and num_classes of the head) to the categories of the file'
            )
        if annotated != classes:
            raise InputError(
                f'{self.ann_file} lists the classes in another order than the dataset, which '
                f'would give boxes the wrong names: set metainfo.classes to {tuple(annotated)}'
            )


def check_images(data_list: list[dict], ann_file: str) -> list[dict]:
    """Return a filtered data list of mmdet if it can be used.

    Args:
        data_list: mmdet's entries of the images, of which ``img_path``, ``height`` and ``width`` in
            pixels are used.
        ann_file: where the images are listed, for the message.

    Raises:
        InputError: if the list is empty, or if an image is too small for the backbone.

    Example:
        >>> check_images([dict(img_path='1.jpg', height=20, width=64)], 'train.json')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: 1.jpg has 20x64 pixels (height x width) and needs a side of
        at least 32: enlarge it, or take it out of train.json
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
