"""Segmentation data that says what is wrong with it."""

import os.path as osp

from mmseg.datasets import BaseSegDataset as MMSegBaseSegDataset
from mmseg.datasets import PascalVOCDataset as MMSegPascalVOCDataset

from ..errors import InputError
from ..registry import DATASETS
from .checks import CheckedDataset, check_labels, require_file, require_folder


class _CheckedSegDataset(CheckedDataset):
    remedy = (
        'Set data_root, data_prefix and ann_file of the data set. For the configs of the '
        'repository set the environment variable VOC_ROOT to the folder VOC2012, and COCO_ROOT to '
        "that of COCO; SBD's and COCO's masks come from tools/dataset_converters, and drawn data "
        'from tools/make_demo_data.py'
    )

    def load_data_list(self):
        folders = {
            'image folder': self.data_prefix.get('img_path'),
            'mask folder': self.data_prefix.get('seg_map_path'),
        }
        if not self.metainfo.get('classes'):
            raise InputError(
                f'the data set of {self.ann_file or folders["image folder"]} has no '
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
                f'{self.img_suffix}: set img_suffix of the data set'
            )
        for what, key in (('image', 'img_path'), ('mask', 'seg_map_path')):
            missing = [info[key] for info in data_list if key in info and not osp.isfile(info[key])]
            if missing:
                raise InputError(
                    f'{len(missing)} of {len(data_list)} {what}s are missing, such as '
                    f'{", ".join(missing[:3])}: add them, or take them out of {self.listed_in}'
                )
        return data_list

    def prepare_data(self, idx):
        data = super().prepare_data(idx)
        # An id beyond the classes would stop a GPU without a word on where it comes from.
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
    """


@DATASETS.register_module()
class PascalVOCDataset(_CheckedSegDataset, MMSegPascalVOCDataset):
    """mmseg's PascalVOCDataset with the checks of :class:`BaseSegDataset`."""
