"""Folders and lists of images as people have them."""

from functools import partial

import pytest
from PIL import Image

from edgenext_mm.datasets import CustomDataset
from edgenext_mm.errors import InputError


@pytest.fixture
def build(tmp_path):
    return partial(CustomDataset, data_root=str(tmp_path), data_prefix='train', pipeline=[])


@pytest.fixture
def write(tmp_path):
    def write(*names):
        for name in names:
            path = tmp_path / 'train' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in ('.txt', '.heic'):
                path.write_text('')
            else:
                Image.new('RGB', (4, 4)).save(path)

    return write


def test_folders(build, write):
    write('boat/1.webp', 'boat/2.JPG', 'kite/1.gif', 'kite/notes.txt')
    dataset = build()
    assert len(dataset) == 3 and dataset.metainfo['classes'] == ('boat', 'kite')
    (item,) = dataset.report.items
    assert item.file.endswith('kite/notes.txt') and item.kind == 'files that are no images'
    with pytest.raises(InputError, match=r"where 'kites' has no folder \(did you mean 'kite'"):
        build(classes=('boat', 'kites'))
    with pytest.raises(InputError, match='in the order of their numbers'):
        build(classes=('kite', 'boat'))
    with pytest.raises(InputError, match=r"the text 'kite': write a tuple"):
        build(classes=('kite'))


def test_hidden_folders(build, write):
    """What macOS, Jupyter and version control put there are neither classes nor images."""
    write('boat/1.png', 'kite/1.png', 'kite/.ipynb_checkpoints/1.png', '.git/1.png')
    write('__MACOSX/boat/1.png')
    for settings in ({}, dict(classes=('boat', 'kite'))):
        dataset = build(**settings)
        assert len(dataset) == 2 and dataset.metainfo['classes'] == ('boat', 'kite')


def test_names_in_another_composition(build, write):
    write('boat/1.png', 'zu\u0308/1.png')
    assert len(build(classes=('boat ', 'zü'))) == 2


def test_class_of_other_files(build, write):
    write('boat/1.png', 'kite/1.heic')
    with pytest.raises(InputError, match=r"'kite'; left out are files that are no images \(1\)"):
        build()
    assert len(build(test_mode=True)) == len(build(allow_missing_classes=True)) == 1


def test_list(build, write, tmp_path):
    write('1.png', '2.png')
    (tmp_path / 'train.txt').write_text('\ufeff1.png\t0\r\n\r\n2.PNG 1\r\n')
    dataset = build(ann_file='train.txt', classes=('boat', 'kite'))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(2)] == [0, 1]
    assert dataset.get_data_info(0)['img_path'] == f'{tmp_path}/train/1.png'
    assert dataset.report.counts('used') == {'file names in another spelling': 1}
    with pytest.raises(InputError, match="no image of 1 of the 3 classes, 'clock'"):
        build(ann_file='train.txt', classes=('boat', 'kite', 'clock'))
    (tmp_path / 'train.txt').write_text('1.png 0\n2.png 1\n1.png 0\n')
    assert [len(build(ann_file='train.txt', test_mode=mode)) for mode in (False, True)] == [3, 2]
    (tmp_path / 'train.txt').write_text('1.png 0\n2.png 1\n1.png 1\n')
    with pytest.raises(InputError, match=r'train\.txt has .*1\.png in two classes: keep one'):
        build(ann_file='train.txt')
