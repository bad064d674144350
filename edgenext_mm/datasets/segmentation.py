"""Segmentation datasets that say what is wrong with their files, and a transform."""

import os
import os.path as osp
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadAnnotations
from mmengine.logging import MMLogger
from mmseg.datasets import BaseSegDataset as MMSegBaseSegDataset
from mmseg.datasets import PascalVOCDataset as MMSegPascalVOCDataset
from mmseg.evaluation import IoUMetric
from PIL import Image, ImageFilter

from ..errors import InputError
from ..images import image_size_of
from ..registry import DATASETS, TRANSFORMS
from .checks import (
    CheckedDataset,
    check_labels,
    read_lines,
    require_file,
    require_folder,
)
from .faults import Faults
from .files import MASK_SUFFIXES, ImageFiles
from .report import Report, names_of

JPEG_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif')

#: Masks that are read at most before training, in search of classes without a pixel.
MAX_SCANNED = 10_000


class _CheckedSegDataset(CheckedDataset):
    remedy = (
        'Set data_root, data_prefix and ann_file of the dataset. For the configs of the '
        'repository set the environment variable VOC_ROOT to the folder VOC2012, and COCO_ROOT to '
        "that of COCO; SBD's and COCO's masks come from tools/dataset_converters, and demo data "
        'from tools/make_demo_data.py'
    )

    def __init__(
        self,
        ann_file: str = '',
        img_suffix: str | Sequence[str] | None = None,
        seg_map_suffix: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self._suffixes = img_suffix, seg_map_suffix
        super().__init__(ann_file=ann_file, **kwargs)

    def _update_palette(self) -> list:
        """Check the colors of the classes; see mmseg's method."""
        palette, classes = self.metainfo.get('palette', []), self.metainfo.get('classes', ())
        if not isinstance(palette, Sequence) or 0 < len(palette) < len(classes):
            raise InputError(
                f'metainfo.palette of the dataset is {palette!r:.100}: list a color for each of '
                f'the {len(classes)} classes, or leave it out'
            )
        return super()._update_palette()

    def load_data_list(self) -> list[dict]:
        """Check the files, and list the images with their masks."""
        folders = {
            'image folder': self.data_prefix.get('img_path'),
            'mask folder': self.data_prefix.get('seg_map_path'),
        }
        image_folder, mask_folder = folders.values()
        if not image_folder:
            raise InputError(
                f'data_prefix of the dataset is {dict(self.data_prefix)}: set its img_path to the '
                'folder of the images, and its seg_map_path to that of the masks'
            )
        if not self.metainfo.get('classes'):
            raise InputError(
                f'the dataset of {self.ann_file or image_folder} has no metainfo.classes: list the '
                'names of the classes'
            )
        self.check_data_root()
        for what, folder in folders.items():
            if folder:
                require_folder(what, folder, self.remedy)
        if self.ann_file:
            require_file('split file', self.ann_file, self.remedy)
        if not mask_folder:
            if not self.test_mode:
                raise InputError(
                    f'the dataset of {self.ann_file or image_folder} has no masks to learn from: '
                    'set data_prefix.seg_map_path'
                )
            _remove_mask_loaders(self.pipeline)
        pairs = self._find_pairs(image_folder, mask_folder)
        entry = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
        return [
            dict(img_path=image, **({'seg_map_path': mask} if mask else {}), **entry, seg_fields=[])
            for image, mask in pairs
        ]

    def _find_pairs(
        self, image_folder: str, mask_folder: str | None
    ) -> list[tuple[str, str | None]]:
        """Return the images with their masks, if any."""
        image_suffix, mask_suffix = self._suffixes
        images = ImageFiles(image_folder, image_suffix, without=mask_folder)
        masks = ImageFiles(mask_folder, mask_suffix, MASK_SUFFIXES) if mask_folder else None
        if masks and osp.realpath(image_folder) == osp.realpath(masks.folder):
            images.but = tuple(masks.suffixes or masks.known)
        if self.ann_file and not osp.isdir(self.ann_file):
            names = self.without_twins([images.plain(x) for x in read_lines(self.ann_file)])
        else:
            names = images.names(self.report)
            if masks:
                others = Report('') if images.but else self.report  # which are the images
                for name in sorted(set(masks.names(others)) - {*names}):
                    self.report.left_out('masks without an image', masks.find(name) or name)
        if not names:
            raise InputError(
                f'{self.ann_file or image_folder} holds no image'
                f'{f" with the suffix {image_suffix}: set img_suffix" if image_suffix else ""}: '
                f'add images. {self.remedy}'
            )
        found = self._find(names, images, 'image')
        of_them = self._find(names, masks, 'mask') if masks else [None] * len(names)
        pairs = zip(found, of_them, strict=True)
        return [(image, mask) for image, mask in pairs if image and (mask or not masks)]

    def _find(self, names: list[str], files: ImageFiles, what: str) -> list[str | None]:
        found: list[str | None] = []
        faults, missing = Faults(), []
        for name in names:
            path = None
            with faults.of_a_part():
                path = files.find(name)
                if path is None:
                    missing.append(files.path_of(name))
            found.append(path)
        with faults.of_a_part():
            self._refuse_missing(missing, len(names), files, what)
        faults.refuse()
        return found

    def _refuse_missing(self, missing: list[str], total: int, files: ImageFiles, what: str) -> None:
        if not missing:
            return
        hint = ''
        suffix = (files.suffixes or files.known)[0]
        folder, stem = osp.split(missing[0].removesuffix(suffix))
        names = os.listdir(folder) if osp.isdir(folder) else []
        similar = [x for x in names if x.startswith(stem) and not x[len(stem) :][:1].isalnum()]
        if what == 'mask' and any(name.lower().endswith(JPEG_SUFFIXES) for name in similar):
            hint = ' (there are JPEG files, which do not keep the ids of classes: save PNG)'
        elif similar := [name for name in similar if name.lower().endswith(files.known)]:
            setting = 'seg_map_suffix' if what == 'mask' else 'img_suffix'
            rest = min(similar).removeprefix(stem)
            hint = f' (there is {min(similar)}: perhaps set {setting} to {rest!r})'
        raise InputError(
            f'{len(missing)} of {total} {what}s are missing, such as '
            f'{", ".join(missing[:3])}{hint}: add them, or take them out of {self.listed_in}'
        )

    def filter_data(self) -> list[dict]:
        """Check that there are pixels of each class to learn from."""
        kept = super().filter_data()
        if not self.test_mode and not self.allow_missing_classes:
            self._check_pixels(kept)
        return kept

    def has_pixels(self) -> bool:
        """Tell whether the masks have a pixel that is not ignored."""
        infos = [self.get_data_info(index) for index in range(len(self))]
        return bool(self._look_through(infos, np.any)[1].any())

    def _look_through(
        self, infos: list[dict], enough: Callable[[np.ndarray], Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read masks in random order until the pixels of the classes are enough, so that few are.

        Returns:
            How many pixels have each id, (256,), and each class, (classes,).
        """
        files = [(info['img_path'], info['seg_map_path']) for info in infos]
        order = np.random.default_rng(0).permutation(len(files))[:MAX_SCANNED]
        number, counts = len(self.metainfo['classes']), np.zeros(256, int)
        pixels: Any = counts[:number]
        faults = Faults()

        def count(index: int) -> np.ndarray:
            found = np.zeros(256, int)
            with faults.of_a_part():
                found = self._count_ids(*files[index])
            return found

        # Its threads end here: what a thread holds while a worker of a dataloader is forked, that
        # worker would wait for without end.
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(count, order):
                counts += found
                pixels = np.bincount(self._new_ids(), counts, 256)[:number]
                if enough(pixels):
                    break
        faults.refuse()
        return counts, pixels

    def _check_pixels(self, infos: list[dict]) -> None:
        """Check that each class was seen in the masks."""
        counts, pixels = self._look_through(infos, np.all)
        if pixels.all():
            return
        if len(infos) > MAX_SCANNED:
            names = names_of(np.array(self.metainfo['classes'])[pixels == 0].tolist())
            MMLogger.get_current_instance().warning(
                f'{self.report.name}: no pixel of {names} in {MAX_SCANNED} of {len(infos)} masks'
            )
            return
        cause = ''
        if counts[self.ignore_index] and counts[1:].sum() == counts[self.ignore_index]:
            cause = (
                f'; the masks hold {"0 and " * bool(counts[0])}{self.ignore_index}, and '
                f'{self.ignore_index} is left out: '
                'if it means the object, write the place of its class in metainfo.classes instead'
            )
        self.check_classes(pixels, 'pixel', cause)

    def _new_ids(self) -> np.ndarray:
        """Return what mmseg makes of each id that a mask may hold."""
        ids: np.ndarray = np.arange(256)
        if self.reduce_zero_label:
            ids = np.where((ids == 0) | (ids == 255), 255, ids - 1)
        new_ids = ids.copy()
        for old, new in (self.label_map or {}).items():
            new_ids[ids == old] = new
        return new_ids

    def _count_ids(self, image: str, mask: str) -> np.ndarray:
        """Return the number of pixels of each id in a mask, (256,)."""
        labels = self._check_mask(mask, image, image_size_of(image), whole=True)
        return np.bincount(labels.ravel(), minlength=256)[:256]

    def check_sample(self, info: dict, shape: tuple[int, int]) -> None:
        """Compare the size of a mask with that of its image."""
        if 'seg_map_path' in info:
            self._check_mask(info['seg_map_path'], info['img_path'], shape)

    def _check_mask(
        self, mask: str, image: str, shape: tuple[int, int], whole: bool = False
    ) -> np.ndarray:
        """Check a mask, whose pixels are read if ``whole`` or if they may be beyond eight bits."""
        try:
            with Image.open(mask) as opened:
                size = opened.height, opened.width
                lossy = opened.format in ('JPEG', 'MPO')
                whole = whole or opened.mode not in ('1', 'L', 'P')
                labels = np.asarray(opened) if whole else np.zeros((0, 0), np.uint8)
        except Exception as error:  # decoders raise errors of many types
            raise InputError(
                f'{mask} cannot be read as an image ({error}): restore the file, or take it out of '
                f'{self.listed_in}'
            ) from error
        if lossy:
            raise InputError(
                f'{mask} is a JPEG, which does not keep the ids of classes: draw it anew as PNG'
            )
        # mmseg cuts the ids to eight bits, and maps them.
        mapped = self.label_map is not None or self.reduce_zero_label
        number = 256 if mapped else len(self.metainfo['classes'])
        check_labels(mask, labels, number, self.ignore_index)
        if size != shape:
            raise InputError(
                f'{mask} has {size[0]}x{size[1]} pixels and its image {image} has '
                f'{shape[0]}x{shape[1]} (height x width): draw the mask at the size of the image, '
                'as viewers show it'
            )
        return labels.astype(np.uint8)

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a sample.

        Raises:
            InputError: if the image or mask cannot be read, if the mask has another size than the
                image, or if it has other ids than those of the classes.
        """
        data = super().prepare_data(idx)
        # On a GPU an id beyond the classes fails in a kernel, which names no file.
        if 'gt_sem_seg' in (data or {}).get('data_samples', ()):
            labels = data['data_samples'].gt_sem_seg.data.squeeze(0).numpy()
            path = self.get_data_info(idx)['seg_map_path']
            check_labels(path, labels, len(self.metainfo['classes']), self.ignore_index)
        return data

    def prepare_metric(self, metric: Any, datasets: Sequence[Any]) -> None:
        """Refuse to evaluate without masks, or with masks in which all is ignored."""
        if isinstance(metric, IoUMetric) and not metric.format_only:
            for dataset in datasets:
                if not dataset.data_prefix.get('seg_map_path'):
                    raise InputError(
                        f'the dataset of {dataset.report.name} has no masks to evaluate with: set '
                        'data_prefix.seg_map_path, or have the predictions written only, with '
                        'format_only=True and output_dir of the evaluator'
                    )
            if not any(dataset.has_pixels() for dataset in datasets):
                raise InputError(
                    f'the masks of {datasets[0].report.name} have no pixel of a class, so that '
                    f'nothing can be evaluated: all is {self.ignore_index}, which is ignored. '
                    'Correct the masks'
                )


def _remove_mask_loaders(pipeline: Any) -> None:
    """Take the steps that load masks out of a pipeline, for images without."""
    if hasattr(pipeline, 'transforms'):
        pipeline.transforms = [
            step
            for step in pipeline.transforms
            if not (isinstance(step, LoadAnnotations) and step.with_seg)
        ]
    # TestTimeAug holds its transforms as subroutines.
    for step in getattr(pipeline, 'transforms', getattr(pipeline, 'subroutines', ())):
        _remove_mask_loaders(step)


@DATASETS.register_module()
class BaseSegDataset(_CheckedSegDataset, MMSegBaseSegDataset):
    """mmseg's BaseSegDataset, which finds images of any suffix and names what is wrong with them.

    A mask has the name of its image but for the suffix. What is used, left out and refused is in
    docs/custom_data.md.

    Args:
        ann_file: a file with the names of the images, without suffix. Defaults to '', all images.
        img_suffix: what the names of images end with, or several of that. Defaults to any suffix of
            an image that can be read.
        seg_map_suffix: the same for masks. Defaults to any suffix of a lossless image.
        allow_missing_classes: see :class:`~edgenext_mm.datasets.checks.CheckedDataset`.
        kwargs: the other arguments of mmseg's BaseSegDataset.

    Raises:
        InputError: if the data root, a folder, the split file, an image or a mask is missing, if an
            image or mask cannot be read, if a mask has ids beyond the classes or another size than
            its image, or if a class has no pixel in the masks of a training set.

    Example:
        >>> BaseSegDataset(data_root='nowhere', metainfo=dict(classes=['road', 'sky']))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: the data root nowhere is not a folder. Set data_root, ...
    """


@DATASETS.register_module()
class PascalVOCDataset(_CheckedSegDataset, MMSegPascalVOCDataset):
    """mmseg's PascalVOCDataset with the checks of :class:`BaseSegDataset`."""


@TRANSFORMS.register_module()
class GaussianBlur(BaseTransform):
    """Blur images with a radius that is drawn for each of them.

    It is mmpretrain's GaussianBlur with ``magnitude_range=(0, max_radius)`` and
    ``magnitude_std='inf'``: the draws and the images are the same, and segmentation does not need
    mmpretrain.

    Args:
        max_radius: standard deviation of the blur in pixels, at most.
        prob: how likely an image is blurred. Defaults to 0.5.

    Example:
        >>> np.random.seed(0)  # without, the radius may be so small that nothing changes
        >>> image = np.zeros((3, 3, 3), np.uint8)
        >>> image[1, 1] = 255
        >>> blurred = GaussianBlur(max_radius=1, prob=1)(dict(img=image))['img']
        >>> bool(blurred[1, 1, 0] < 255), blurred.dtype
        (True, dtype('uint8'))
    """

    def __init__(self, max_radius: float, prob: float = 0.5) -> None:
        self.max_radius = max_radius
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Blur ``results['img']``, an array of uint8 of shape (height, width, 3)."""
        if np.random.rand() <= self.prob:
            blur = ImageFilter.GaussianBlur(np.random.uniform(0, self.max_radius))
            results['img'] = np.array(Image.fromarray(results['img']).filter(blur))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(max_radius={self.max_radius}, prob={self.prob})'
