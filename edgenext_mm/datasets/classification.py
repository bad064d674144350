"""Classification datasets that say what is wrong with their files."""

import os
import os.path as osp
from typing import Any

import numpy as np
from mmpretrain.datasets import CustomDataset as MMPretrainCustomDataset
from mmpretrain.datasets import ImageNet as MMPretrainImageNet
from mmpretrain.datasets import RandomResizedCrop
from mmpretrain.datasets.custom import get_samples

from ..errors import InputError
from ..registry import DATASETS, TRANSFORMS
from .annotations import SPELLED
from .checks import CheckedDataset, nearest, read_text, require_file, require_folder
from .faults import Faults
from .files import IMAGE_SUFFIXES, ImageFiles, composed
from .image_size import image_size


class _CheckedClsDataset(CheckedDataset):
    remedy = (
        'Set data_root, data_prefix and ann_file of the dataset. For the configs of the '
        'repository set the environment variable IMAGENET_ROOT to the folder that holds train/ '
        'and val/, or draw demo data: python tools/make_demo_data.py'
    )

    def __init__(self, *args: Any, classes: Any = None, **kwargs: Any) -> None:
        if classes is not None:  # mmpretrain's other name for those of metainfo
            kwargs['metainfo'] = {'classes': classes, **(kwargs.get('metainfo') or {})}
        kwargs.setdefault('extensions', IMAGE_SUFFIXES)
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Check the files, and list the images with their classes."""
        self.check_data_root()
        if self.img_prefix:
            require_folder('image folder', self.img_prefix, self.remedy)
        if self.ann_file:
            require_file('list of images', self.ann_file, self.remedy)
            return self._read_list()
        if self.with_label:
            self._check_folders()
        self._report_others()
        try:
            return super().load_data_list()
        except RuntimeError as error:  # mmpretrain found no image
            raise InputError(f'{self.img_prefix} holds no image. {self.remedy}') from error
        except OSError as error:  # such as a link to itself
            raise InputError(f'{self.img_prefix} cannot be listed ({error}): repair it') from error

    def filter_data(self) -> list[dict]:
        """Check that there are images of each class."""
        kept = super().filter_data()
        if self.with_label and self.metainfo.get('classes'):
            labels = [info['gt_label'] for info in kept]
            counts = np.bincount(labels, minlength=len(self.metainfo['classes']))
            self.check_classes(counts, '')
        return kept

    def _read_list(self) -> list[dict]:
        lines = [line.strip() for line in read_text(self.ann_file).splitlines()]
        if not any(lines):
            raise InputError(f'the list of images {self.ann_file} is empty. {self.remedy}')
        files, faults, names = ImageFiles(self.img_prefix), Faults(), []
        infos: dict[str, dict] = {}
        for number, line in enumerate(lines, 1):
            if line:
                with faults.of_a_part():
                    info = self._read_line(number, line, files)
                    names.append(info['img_path'])
                    if infos.setdefault(info['img_path'], info) != info:
                        raise InputError(
                            f'{self.ann_file} has {info["img_path"]} in two classes: keep one'
                        )
        faults.refuse()
        return [infos[name] for name in self.without_twins(names)]

    def _read_line(self, number: int, line: str, files: ImageFiles) -> dict:
        classes = self.metainfo.get('classes') or ()
        words = line.rsplit(maxsplit=1) if self.with_label else [line, '0']
        path, label = words if len(words) == 2 else ('', '')
        if not path or not label.isdecimal() or (classes and int(label) >= len(classes)):
            raise InputError(
                f'{self.ann_file} has the line {line!r} ({number}), which is not a path and '
                f'the number of a class from 0 to {len(classes) - 1 if classes else "..."}: '
                'correct the line'
            )
        spelled = files.spelled(path)
        if spelled != path:
            kind, message = SPELLED
            self.report.used(kind, path, message=message)
        info = dict(img_path=osp.join(self.img_prefix, spelled))
        return dict(info, gt_label=int(label)) if self.with_label else info

    def is_valid_file(self, filename: str) -> bool:
        """Tell whether a file is an image that counts."""
        return super().is_valid_file(filename) and not any(map(_is_hidden, filename.split(os.sep)))

    def _find_samples(self) -> list[tuple[str, int]]:
        """List the images of the folders as mmpretrain does, but for hidden folders."""
        if not self.with_label:
            return super()._find_samples()
        folders = self._folders()
        self.folder_to_idx = {name: label for label, name in enumerate(folders)}
        samples, _ = get_samples(self.img_prefix, self.folder_to_idx, self.is_valid_file)
        if not samples:
            raise RuntimeError
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(folders)
        return samples

    def _folders(self) -> list[str]:
        names = (entry.name for entry in os.scandir(self.img_prefix) if osp.isdir(entry))
        return sorted(name for name in names if not _is_hidden(name))

    def _check_folders(self) -> None:
        folders = [composed(name) for name in self._folders()]
        classes = self.metainfo.get('classes')
        if not folders or (classes and len(folders) != len(classes)):
            others = sorted(set(folders) - set(classes or ()))
            absent = [name for name in classes or () if name not in folders]
            hint = nearest(absent[0], others) if absent and len(absent) < len(folders) else ''
            raise InputError(
                f'{self.img_prefix} has {len(folders)} folders, and there is one for each of the '
                f'{len(classes) if classes else ""} classes: sort the images into folders, give a '
                f'list of images as ann_file, or set metainfo.classes{hint}'
            )
        if classes and folders != list(classes) and set(folders) & set(classes):
            odd = (
                next(name for name in classes if name not in folders)
                if set(folders) != set(classes)
                else ''
            )
            raise InputError(
                f'{self.img_prefix} has the folders {tuple(folders)}, in the order of their '
                f'numbers, and metainfo.classes is {tuple(classes)}'
                f'{f", where {odd!r} has no folder{nearest(odd, folders)}" if odd else ""}: write '
                'the names of the folders, in this order'
            )
        for folder in self._folders():
            if not any(files for _, _, files in os.walk(osp.join(self.img_prefix, folder))):
                raise InputError(
                    f'{osp.join(self.img_prefix, folder)} is empty: put images there, or remove it'
                )

    def _report_others(self) -> None:
        for folder, folders, files in os.walk(self.img_prefix):
            folders[:] = [name for name in folders if not _is_hidden(name)]
            label = osp.relpath(folder, self.img_prefix).split(os.sep)[0]
            for file in files:
                if not self.is_valid_file(file) and not file.startswith('.'):
                    path = osp.join(folder, file)
                    self.report.left_out('files that are no images', path, label=label)


def _is_hidden(name: str) -> bool:
    """Tell whether programs keep files of their own there, such as copies of images."""
    return name.startswith('.') or name == '__MACOSX'


@DATASETS.register_module()
class CustomDataset(_CheckedClsDataset, MMPretrainCustomDataset):
    """mmpretrain's CustomDataset, which checks its files and names the one at fault.

    Raises:
        InputError: if the data root, the image folder or the list of images is missing, if the
            folders are not those of the classes, or if an image cannot be read.

    Example:
        >>> CustomDataset(data_root='nowhere')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the data root nowhere is not a folder. Set data_root, ...
    """


@DATASETS.register_module()
class ImageNet(_CheckedClsDataset, MMPretrainImageNet):
    """mmpretrain's ImageNet with the checks of :class:`CustomDataset`."""


@TRANSFORMS.register_module()
class MultiScaleRandomResizedCrop(RandomResizedCrop):
    """mmpretrain's RandomResizedCrop at the size that a MultiScaleBatchSampler wants.

    Args:
        backend: what resizes the crop. Defaults to 'pillow', which filters what it shrinks.
        kwargs: the other arguments of RandomResizedCrop but ``scale``.

    Raises:
        InputError: in use, if the samples come from another batch sampler, or by way of a dataset
            that does not load them one by one.

    Example:
        >>> import numpy as np
        >>> crop = MultiScaleRandomResizedCrop(interpolation='bicubic')
        >>> crop(dict(img=np.zeros((90, 120, 3), np.uint8)))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: MultiScaleRandomResizedCrop needs batch_sampler=dict(...
    """

    def __init__(self, backend: str = 'pillow', **kwargs: Any):
        super().__init__(scale=1, backend=backend, **kwargs)

    def transform(self, results: dict) -> dict:
        """Crop and resize the image; see mmpretrain's transform for the keys."""
        size = image_size()
        if size is None:
            raise InputError(
                'MultiScaleRandomResizedCrop needs batch_sampler=dict('
                "type='edgenext_mm.MultiScaleBatchSampler') in the dataloader, and datasets that "
                'load sample by sample, unlike a torch.utils.data.Subset of another; without, take '
                'RandomResizedCrop'
            )
        self.scale = (size, size)
        return super().transform(results)
