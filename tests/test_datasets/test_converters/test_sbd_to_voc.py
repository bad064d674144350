"""SBD's masks and its list of images, added to VOC 2012."""

import numpy as np
import pytest
from masks import modification_times, read_mask
from scipy.io import savemat

from edgenext_mm.datasets.converters import voc_masks
from edgenext_mm.datasets.converters.sbd_to_voc import convert_sbd
from edgenext_mm.errors import InputError


@pytest.fixture
def sbd(tmp_path):
    """SBD and VOC 2012: one image of SBD's train and one of its val are in VOC's val."""
    rng = np.random.default_rng(0)
    masks = {f'2008_{i:06d}': rng.integers(0, 21, (20 + i, 30), np.uint8) for i in range(8)}
    root = tmp_path / 'benchmark_RELEASE/dataset'
    (root / 'cls').mkdir(parents=True)
    for name, mask in masks.items():
        classes = dict(Segmentation=mask, CategoriesPresent=np.unique(mask))
        savemat(root / f'cls/{name}.mat', dict(GTcls=classes))
    names = list(masks)
    lists = {'train': names[:5], 'val': names[5:]}
    for split, listed in lists.items():
        voc_masks.write_list(root / f'{split}.txt', listed)
    voc_root = tmp_path / 'VOC2012'
    voc_masks.write_list(voc_root / 'ImageSets/Segmentation/val.txt', [names[1], names[6], 'other'])
    return root.parent, voc_root, masks


def test_sbd(sbd):
    sbd_root, voc_root, masks = sbd
    assert convert_sbd(sbd_root, voc_root) == 6
    listed = (voc_root / 'ImageSets/Segmentation/trainaug.txt').read_text().split()
    assert listed == [name for i, name in enumerate(masks) if i not in (1, 6)]
    folder = voc_root / 'SegmentationClassAug'
    assert {path.stem for path in folder.iterdir()} == set(listed)
    for name in listed:
        np.testing.assert_array_equal(read_mask(folder / f'{name}.png'), masks[name])
    before = modification_times(folder)
    assert convert_sbd(sbd_root / 'dataset', voc_root) == 6 and modification_times(folder) == before


def test_bad_sbd(sbd):
    sbd_root, voc_root, masks = sbd
    broken = sbd_root / 'dataset/cls' / f'{list(masks)[3]}.mat'
    content = broken.read_bytes()
    for spoiled in (b'', content[:200], b'no mat' * 40):
        broken.write_bytes(spoiled)
        with pytest.raises(InputError, match=f'{broken} is not a whole file of SBD masks'):
            convert_sbd(sbd_root, voc_root)
    savemat(broken, dict(other=1))
    with pytest.raises(InputError, match=f'{broken} is not a whole file of SBD masks'):
        convert_sbd(sbd_root, voc_root)
    broken.unlink()
    with pytest.raises(InputError, match=f'1 of the masks that SBD lists are missing.*{broken}'):
        convert_sbd(sbd_root, voc_root)
    assert not (voc_root / 'ImageSets/Segmentation/trainaug.txt').exists()
    with pytest.raises(InputError, match=r'nowhere.*val\.txt does not exist'):
        convert_sbd(sbd_root, voc_root.parent / 'nowhere')
