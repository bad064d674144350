"""Masks of COCO's instances, equal to those that pycocotools draws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from masks import modification_times, read_mask
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from pycocotools import mask as coco_mask

from edgenext_mm.datasets.converters import voc_masks
from edgenext_mm.datasets.converters.coco_to_voc import convert_coco, draw_mask
from edgenext_mm.errors import InputError

PALETTE = PascalVOCDataset.METAINFO['palette']
COCO_NAMES = [
    *('airplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow'),
    *('dining table', 'dog', 'horse', 'motorcycle', 'person', 'potted plant', 'sheep', 'couch'),
    *('train', 'tv'),
]


@pytest.fixture
def coco(demo_data, tmp_path):
    """The drawn scenes under names of VOC's classes, with crowds and objects of other classes."""
    root = tmp_path / 'coco'
    shutil.copytree(demo_data / 'annotations', root / 'annotations')
    rng = np.random.default_rng(0)
    for path in (root / 'annotations').iterdir():
        content = json.loads(path.read_text())
        ids = {category['name']: category['id'] for category in content['categories']}
        images = {image['id']: image for image in content['images']}
        others = {image['id'] for image in content['images'][:2]}  # nothing of VOC's there
        for annotation in content['annotations']:
            image = images[annotation['image_id']]
            size = image['height'], image['width']
            name = rng.choice([*COCO_NAMES, 'zebra'])
            annotation['category_id'] = ids['zebra' if image['id'] in others else name]
            if rng.random() < 0.2:
                rle = coco_mask.merge(coco_mask.frPyObjects(annotation['segmentation'], *size))
                pixels = coco_mask.decode(rle).ravel('F')
                runs = np.diff(np.flatnonzero(np.diff(pixels, prepend=2, append=2)))
                counts = [0] * int(pixels[0]) + runs.tolist()
                annotation.update(iscrowd=1, segmentation=dict(counts=counts, size=size))
            if rng.random() < 0.3:  # in front of or behind another, as its area says
                annotation['area'] = float(rng.uniform(1, 1e5))
        path.write_text(json.dumps(content))
    return root


def expected_mask(image, annotations, names):
    size = image['height'], image['width']
    mask = np.zeros(size, np.uint8)
    for item in sorted(annotations, key=lambda item: -item['area']):
        if names[item['category_id']] in COCO_NAMES:
            rle = coco_mask.frPyObjects(item['segmentation'], *size)
            pixels = coco_mask.decode(rle if item['iscrowd'] else coco_mask.merge(rle))
            label = COCO_NAMES.index(names[item['category_id']]) + 1
            mask[pixels > 0] = 255 if item['iscrowd'] else label
    return mask


def test_coco_equals_pycocotools(coco, tmp_path):
    out = tmp_path / 'out'
    counts = convert_coco(coco, out, processes=2)
    assert counts == {'train2017': 30, 'val2017': 6}
    labels = set()
    for split, count in counts.items():
        content = json.loads((coco / f'annotations/instances_{split}.json').read_text())
        names = {category['id']: category['name'] for category in content['categories']}
        listed = (out / f'{split}.txt').read_text().split()
        assert listed == sorted(path.stem for path in (out / split).iterdir())
        assert len(listed) == count
        for image in content['images'][2:]:
            items = [a for a in content['annotations'] if a['image_id'] == image['id']]
            mask = read_mask(out / split / image['file_name'].replace('.jpg', '.png'))
            np.testing.assert_array_equal(mask, expected_mask(image, items, names))
            labels |= set(np.unique(mask))
    assert len(labels) > 18 and 255 in labels
    with Image.open(next((out / 'train2017').iterdir())) as image:
        colors, ids = np.array(image.convert('RGB')), np.array(image)
    for label in set(np.unique(ids)) - {255}:
        assert (colors[ids == label] == PALETTE[label]).all()
    assert voc_masks.PALETTE[255].tolist() == [224, 224, 192]


def test_stopped_conversion_goes_on(coco, tmp_path):
    out = tmp_path / 'out'
    convert_coco(coco, out)
    before = modification_times(out / 'train2017')
    lost = next(iter(before))
    content = lost.read_bytes()
    lost.unlink()
    partial = Path(f'{lost}.partial')
    partial.write_bytes(content[:10])  # as a killed run leaves it
    (out / 'train2017.txt').unlink()
    convert_coco(coco, out)
    partial.unlink()
    after = modification_times(out / 'train2017')
    assert lost.read_bytes() == content and after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {lost}
    assert (out / 'train2017.txt').is_file()


def test_bad_coco(run_tool, coco, tmp_path):
    def message(root):
        with pytest.raises(SystemExit) as stop:
            run_tool('dataset_converters/coco_to_voc.py', root, tmp_path / 'out')
        return str(stop.value)

    assert f'{tmp_path}/nowhere has no annotations' in message(tmp_path / 'nowhere')
    path = coco / 'annotations/instances_train2017.json'
    whole = path.read_text()
    content = json.loads(whole)
    item = next(a for a in content['annotations'] if not a['iscrowd'])
    item['category_id'] = 1
    for broken in ([], [[1, 2, 3]], None):
        item['segmentation'] = broken
        path.write_text(json.dumps(content))
        text = message(coco)
        assert f'annotation {item["id"]} of the image' in text and 'can be drawn' in text
    path.write_text(whole[:1000])
    assert f'{path} is not a whole file of COCO annotations' in message(coco)


def test_size_beyond_all_images():
    image = dict(id=1, file_name='1.jpg', height=10**6, width=10**6)
    with pytest.raises(InputError, match=r'1\.jpg has 1000000x1000000 pixels'):
        draw_mask(image, [], {})


@pytest.mark.parametrize(
    'segmentation',
    [
        [[0, 0, 1e9, 0, 1e9, 9]],
        [[0, 0, float('nan'), 0, 4, 4]],
        dict(size=[10**6, 10**6], counts=[4]),
    ],
)
def test_a_shape_beyond_the_image_does_not_fill_the_memory(segmentation):
    image = dict(id=1, file_name='1.jpg', height=8, width=8)
    shape = dict(id=7, image_id=1, category_id=18, iscrowd=0, area=4, segmentation=segmentation)
    with pytest.raises(InputError, match=r'annotation 7 of the image 1\.jpg has no segmentation'):
        draw_mask(image, [shape], {18: 12})
