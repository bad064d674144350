"""The demo data in the layouts of COCO, VOC and ImageNet."""

import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from edgenext_mm.datasets.demo import data as demo
from edgenext_mm.datasets.demo import scenes
from edgenext_mm.errors import InputError

COCO_IDS = {
    'boat': 9,
    'traffic light': 10,
    'stop sign': 13,
    'sports ball': 37,
    'kite': 38,
    'clock': 85,
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo') / 'data'
    assert demo.make_demo_data(out, 12, 6, seed=3)
    return out


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()
    }


def pictures(folder):
    return {path.read_bytes() for path in folder.glob('*.jpg')}


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_processes(data, tmp_path):
    assert demo.make_demo_data(tmp_path / 'same', 12, 6, seed=3, processes=1)
    assert contents(tmp_path / 'same') == contents(data)


def test_images_do_not_depend_on_the_counts(data, tmp_path):
    demo.make_demo_data(tmp_path / 'less', 2, 2, seed=3)
    for split in ('train2017', 'val2017'):
        less = pictures(tmp_path / 'less' / split)
        assert len(less) == 2 and less < pictures(data / split)


def test_seeds_and_splits_share_no_image(data, tmp_path):
    demo.make_demo_data(tmp_path / 'other', 12, 6, seed=4)
    folders = [
        root / split for root in (data, tmp_path / 'other') for split in ('train2017', 'val2017')
    ]
    assert len(set().union(*map(pictures, folders))) == 2 * (12 + 6)
    names = [path.name for folder in folders[:2] for path in folder.iterdir()]
    assert len(set(names)) == 12 + 6


@pytest.mark.parametrize(('split', 'count'), [('train', 12), ('val', 6)])
def test_coco_layout(data, split, count):
    coco = COCO(data / 'annotations' / f'instances_{split}2017.json')
    assert len(coco.imgs) == count and len(coco.cats) == 80
    assert list(coco.cats) == sorted(coco.cats) and max(coco.cats) == 90
    assert {cat['name']: cat['id'] for cat in coco.loadCats(COCO_IDS.values())} == COCO_IDS
    assert coco.cats[90] == {'supercategory': 'indoor', 'id': 90, 'name': 'toothbrush'}
    for image in coco.imgs.values():
        assert image['file_name'] == f'{image["id"]:012d}.jpg'
        pixels = cv2.imread(str(data / f'{split}2017' / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3)
        assert max(pixels.shape) == 320 and min(pixels.shape[:2]) >= 240
        assert 1 <= len(coco.getAnnIds(image['id'])) <= 10
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    for ann in coco.anns.values():
        image, mask = coco.imgs[ann['image_id']], coco.annToMask(ann)
        x, y, w, h = ann['bbox']
        assert ann['category_id'] in COCO_IDS.values() and ann['iscrowd'] == 0
        assert min(x, y) >= 0 and x + w <= image['width'] and y + h <= image['height']
        np.testing.assert_allclose(cv2.boundingRect(mask), (x, y, w, h), atol=1)
        assert mask.sum() == pytest.approx(ann['area'], rel=0.03, abs=4)


@pytest.mark.parametrize(('split', 'count'), [('train', 12), ('val', 6)])
def test_voc_layout(data, split, count):
    """The scenes of the COCO layout, in the files of VOC."""
    root = data / 'VOC2012'
    names = (root / f'ImageSets/Segmentation/{split}.txt').read_text().split()
    assert names == (root / f'ImageSets/Main/{split}.txt').read_text().split()
    coco = COCO(data / 'annotations' / f'instances_{split}2017.json')
    assert names == [f'{i:012d}' for i in coco.imgs] and len(names) == count
    for k, name in enumerate(names):
        jpeg = (root / f'JPEGImages/{name}.jpg').read_bytes()
        assert jpeg == (data / f'{split}2017/{name}.jpg').read_bytes()

        _, objects = scenes.draw_scene(np.random.default_rng([3, split == 'val', k]))
        with Image.open(root / f'SegmentationClass/{name}.png') as image:
            assert image.mode == 'P'
            mask = np.array(image)
        inside = np.zeros(mask.shape, bool)
        for item in objects:
            core = cv2.erode(item.mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
            border = core ^ cv2.dilate(item.mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
            assert (mask[border] == 255).all()
            labels = mask[core]
            assert set(labels) <= {1 + scenes.CLASSES.index(item.name), 255}
            inside |= border | item.mask
        assert (mask[~inside] == 0).all()

        found = ElementTree.parse(root / f'Annotations/{name}.xml').getroot().findall('object')
        corners = [
            [int(item.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
            for item in found
        ]
        annotations = coco.loadAnns(coco.getAnnIds(int(name)))
        boxes = np.array([a['bbox'] for a in annotations])
        np.testing.assert_array_equal(corners, np.c_[boxes[:, :2] + 1, boxes[:, :2] + boxes[:, 2:]])
        assert [item.find('name').text for item in found] == [
            coco.cats[a['category_id']]['name'] for a in annotations
        ]


def test_polygons_keep_holes_and_parts():
    ring = cv2.circle(np.zeros((60, 80), np.uint8), (30, 30), 20, 1, 7)
    ring[10:14, 60:75] = 1
    coco = COCO()
    coco.imgs = {1: {'height': 60, 'width': 80}}
    mask = coco.annToMask({'image_id': 1, 'segmentation': demo._polygons(ring)})
    assert np.count_nonzero(mask != ring) <= 0.02 * ring.sum()


def test_current_data_are_kept_and_others_replaced(tmp_path):
    out = tmp_path / 'data'
    assert demo.make_demo_data(out, 3, 2)
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert not demo.make_demo_data(out, 3, 2)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob('*')}

    (out / 'train2017' / 'mine.txt').write_text('mine')
    assert demo.make_demo_data(out, 1, 2, seed=1)
    assert {path.name for path in (out / 'train2017').iterdir()} == {'000000000001.jpg', 'mine.txt'}

    next((out / 'val2017').glob('*.jpg')).unlink()
    assert demo.make_demo_data(out, 1, 2, seed=1)


def test_interrupted_run_is_redrawn(tmp_path, monkeypatch):
    write_split = demo._write_split

    def interrupted(out, seed, split, count, pool):
        if split == 1:
            raise KeyboardInterrupt
        write_split(out, seed, split, count, pool)

    out = tmp_path / 'data'
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(demo, '_write_split', interrupted)
        demo.make_demo_data(out, 2, 1)
    assert not json.loads((out / demo.STAMP).read_text())['complete']
    assert demo.make_demo_data(out, 2, 1)
    demo.make_demo_data(tmp_path / 'fresh', 2, 1)
    assert contents(out) == contents(tmp_path / 'fresh')


@pytest.mark.parametrize('stamp', [None, '[]', '{"generator": "another"}', 'no json'])
def test_foreign_folder_is_refused(tmp_path, stamp):
    (tmp_path / 'precious.txt').write_text('precious')
    if stamp is not None:
        (tmp_path / demo.STAMP).write_text(stamp)
    before = contents(tmp_path)
    with pytest.raises(InputError, match='delete it or choose another folder') as error:
        demo.make_demo_data(tmp_path, 1, 1)
    assert str(tmp_path) in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize('arguments', [(0, 1), (1, 0), (1, 1, -1)])
def test_bad_arguments_write_nothing(tmp_path, arguments):
    with pytest.raises(InputError, match='expected train > 0, val > 0 and seed >= 0'):
        demo.make_demo_data(tmp_path / 'data', *arguments)
    assert not (tmp_path / 'data').exists()


def test_command_line(tmp_path, run_tool, capsys):
    def run(out):
        run_tool('make_demo_data.py', out, '--train', 2, '--val', 1)
        return capsys.readouterr().out

    out = tmp_path / 'data'
    assert run(out) == f'wrote 2 training and 1 validation images of seed 0 to {out}\n'
    assert run(out) == f'{out} already holds 2 training and 1 validation images of seed 0\n'
    with pytest.raises(SystemExit, match=f'error: {out}/train2017 exists.*delete it'):
        run(out / 'train2017')
