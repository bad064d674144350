"""Segmentation datasets that say what is wrong with their files."""

import os.path as osp
from typing import Any

from mmseg.datasets import BaseSegDataset as MMSegBaseSegDataset
from mmseg.datasets import PascalVOCDataset as MMSegPascalVOCDataset

from ..errors import InputError
from ..registry import DATASETS
from .checks import CheckedDataset, check_labels, require_file, require_folder


class _CheckedSegDataset(CheckedDataset):
    remedy = (
        'Set data_root, data_prefix and ann_file of the dataset. For the configs of the '
        'repository set the environment variable VOC_ROOT to the folder VOC2012, and COCO_ROOT to '
        "that of COCO; SBD's and COCO's masks come from tools/dataset_converters, and demo data "
        'from tools/make_demo_data.py'
    )

    def load_data_list(self) -> list[dict]:
        """Check the files, and list the images with their masks."""
        folders = {
            'image folder': self.data_prefix.get('img_path'),
            'mask folder': self.data_prefix.get('seg_map_path'),
        }
        if not self.metainfo.get('classes'):
            raise InputError(
                f'the dataset of {self.ann_file or folders["image folder"]} has no '
                'metainfo.classes: list the names of the classes'
            )
        self.check_data_root()
        for what, folder in folders.items():
            if folder:
                require_folder(what, folder, self.remedy)
        if self.ann_file:
            require_file('split file', self.ann_file, self.remedy)
        data_list = super().load_data_list()
        if not data_list:
            raise InputError(
                f'{self.ann_file or folders["image folder"]} holds no image with the suffix '
                f'{self.img_suffix}: set img_suffix of the dataset'
            )
        for what, key in (('image', 'img_path'), ('mask', 'seg_map_path')):
            missing = [info[key] for info in data_list if key in info and not osp.isfile(info[key])]
            if missing:
                raise InputError(
                    f'{len(missing)} of {len(data_list)} {what}s are missing, such as '
                    f'{", ".join(missing[:3])}: add them, or take them out of {self.listed_in}'
                )
        return data_list

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a sample.

        Raises:
            InputError: if the image or mask cannot be read, or if the mask has other ids than those
                of the classes.
        """
        data = super().prepare_data(idx)
        # On a GPU an id beyond the classes fails in a kernel, which names no file.
        if 'gt_sem_seg' in (data or {}).get('data_samples', ()):
            labels = data['data_samples'].gt_sem_seg.data.squeeze(0).numpy()
            path = self.get_data_info(idx)['seg_map_path']
            check_labels(path, labels, len(self.metainfo['classes']), self.ignore_index)
        return data


@DATASETS.register_module()
class BaseSegDataset(_CheckedSegDataset, MMSegBaseSegDataset):
    """mmseg's BaseSegDataset, which checks its files and names the one at fault.

    Raises:
        InputError: if the data root, a folder, the split file, an image or a mask is missing, if an
            image or mask cannot be read, or if a mask has ids beyond the classes.

    Example:
        >>> BaseSegDataset(data_root='nowhere', metainfo=dict(classes=['road', 'sky']))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the data root nowhere is not a folder. Set data_root, ...
    """


@DATASETS.register_module()
class PascalVOCDataset(_CheckedSegDataset, MMSegPascalVOCDataset):
    """mmseg's PascalVOCDataset with the checks of :class:`BaseSegDataset`."""
