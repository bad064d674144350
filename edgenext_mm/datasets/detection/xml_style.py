"""A dataset of boxes in the XML format of Pascal VOC that says what is wrong with its files."""

from typing import Any
from xml.etree.ElementTree import ParseError

from mmdet.datasets import XMLDataset as MMDetXMLDataset

from ...errors import InputError
from ...registry import DATASETS
from ..checks import CheckedDataset, require_file
from .coco import check_images


@DATASETS.register_module()
class XMLDataset(CheckedDataset, MMDetXMLDataset):
    """mmdet's XMLDataset, which checks its files and names the one at fault.

    Raises:
        InputError: if the data root, the list of images or an annotation file is missing, if an
            annotation file is broken, if no image is left to use, or if an image is smaller than
            32 pixels or cannot be read.

    Example:
        >>> XMLDataset(data_root='nowhere', ann_file='train.txt')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the data root nowhere is not a folder. Set data_root, ...
    """

    remedy = 'Set data_root, ann_file and data_prefix of the dataset in the config'

    def load_data_list(self) -> list[dict]:
        """Check the files, and list the images with their boxes."""
        self.check_data_root()
        require_file('list of images', self.ann_file, self.remedy)
        return super().load_data_list()

    def parse_data_info(self, img_info: dict) -> Any:
        """Read the annotation of an image; see mmdet's method for the keys."""
        path = img_info['xml_path']
        try:
            return super().parse_data_info(img_info)
        except FileNotFoundError as error:
            raise InputError(
                f'{error.filename or path} does not exist: add it, or take '
                f'{img_info["img_id"]} out of {self.ann_file}'
            ) from error
        except (ParseError, AttributeError, ValueError) as error:
            raise InputError(f'{path} is not a whole annotation of VOC ({error})') from error

    def filter_data(self) -> list[dict]:
        """Filter the images as mmdet does, and check those that are left."""
        return check_images(super().filter_data(), self.ann_file)
