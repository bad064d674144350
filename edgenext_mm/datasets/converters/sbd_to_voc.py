"""Masks of the Semantic Boundaries Dataset (Hariharan et al., 2011) in the format of Pascal VOC."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from ...errors import InputError
from . import voc_masks


def read_mask(path: str | Path) -> np.ndarray:
    """Read the class ids of one of SBD's ``cls/*.mat`` files, a (height, width) uint8 array.

    Raises:
        InputError: if it is not such a file.

    Example:
        >>> read_mask('cls/2008_000002.mat')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: cls/2008_000002.mat is not a whole file of SBD masks ...
    """
    try:
        return loadmat(path)['GTcls']['Segmentation'][0, 0].astype('uint8')
    except Exception as error:  # scipy, zlib and numpy raise many types for a broken file
        raise InputError(f'{path} is not a whole file of SBD masks ({error})') from error


def convert_sbd(sbd_root: str | Path, voc_root: str | Path, processes: int | None = None) -> int:
    """Add SBD's masks to VOC 2012, with ``trainaug``, the list of their images.

    Writes ``SegmentationClassAug/*.png`` and ``ImageSets/Segmentation/trainaug.txt``: the images of
    SBD's train and val without those of VOC's val, 10,582 if both datasets are whole. Masks that
    are there already are kept, so that a run which was stopped goes on.

    Args:
        sbd_root: folder with ``cls/``, ``train.txt`` and ``val.txt``, or the one that has these in
            ``dataset/``.
        voc_root: the folder VOC2012.
        processes: how many write masks. Defaults to one per CPU.

    Returns:
        The number of images in the list.

    Raises:
        InputError: if a list or a mask is missing or broken.

    Example:
        >>> convert_sbd('benchmark_RELEASE', 'VOC2012')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: VOC2012/ImageSets/Segmentation/val.txt does not exist: ...
    """
    root, voc_root = Path(sbd_root), Path(voc_root)
    if (root / 'dataset').is_dir():
        root = root / 'dataset'
    lists = voc_root / 'ImageSets' / 'Segmentation'
    val = _read_list(lists / 'val.txt')
    names = sorted({*_read_list(root / 'train.txt'), *_read_list(root / 'val.txt')} - {*val})
    sources = {name: root / 'cls' / f'{name}.mat' for name in names}
    missing = [str(path) for path in sources.values() if not path.is_file()]
    if missing:
        raise InputError(
            f'{len(missing)} of the masks that SBD lists are missing, such as '
            f'{", ".join(missing[:3])}: unpack the whole archive again'
        )
    folder = voc_root / 'SegmentationClassAug'
    voc_masks.convert_masks(
        read_mask, {folder / f'{name}.png': (path,) for name, path in sources.items()}, processes
    )
    voc_masks.write_list(lists / 'trainaug.txt', names)
    return len(names)


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(
            f'{path} does not exist: give the folders of SBD (benchmark_RELEASE) and of VOC2012'
        )
    return path.read_text().split()
