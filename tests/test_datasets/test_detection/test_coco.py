"""Bad data, met by the tools of the repository on the way to a training run."""

import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import CONFIGS

from edgenext_mm.datasets import CocoDataset
from edgenext_mm.errors import InputError

CONFIG = CONFIGS / 'ssdlite_edgenext_xx_small_coco.py'
TRAIN = 'annotations/instances_train2017.json'


@pytest.fixture
def data(demo_data, tmp_path):
    """A copy of the demo data to spoil."""
    return shutil.copytree(demo_data, tmp_path / 'data')


@pytest.fixture
def message(run_tool, tmp_path, data):
    """Train on the data and return the one line of the error."""

    def train(*options, root=data):
        # The first batch has all images, so that a broken one is met before the network runs.
        options = ('model.backbone.init_cfg=None', 'train_dataloader.batch_size=32', *options)
        with pytest.raises(SystemExit) as stop:
            run_tool('train.py', CONFIG, '--cfg-options', *options, data_root=root)
        assert not list(tmp_path.rglob('*.pth*'))
        text = str(stop.value)
        assert text.startswith('error: ') and '\n' not in text and 'Traceback' not in text
        return text

    return train


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_data_root(message, tmp_path):
    text = message(root=tmp_path / 'nowhere')
    assert f'data root {tmp_path}/nowhere is not a folder' in text and 'COCO_ROOT' in text
    (tmp_path / 'empty').mkdir()
    assert f'{tmp_path}/empty/{TRAIN} does not exist' in message(root=tmp_path / 'empty')
    assert 'COCO_ROOT is empty' in message(root='')


def test_annotation_file(message, data):
    content = (data / TRAIN).read_text()
    for broken in ('', '[]', '{"images": []}', content[: len(content) // 2]):
        (data / TRAIN).write_text(broken)
        assert f'{data}/{TRAIN} is not a whole file of COCO annotations' in message()
    (data / TRAIN).unlink()
    text = message()
    assert f'{data}/{TRAIN} does not exist' in text and 'COCO_ROOT' in text


def test_validation_data_are_checked_before_training(message, data):
    (data / 'annotations/instances_val2017.json').unlink()
    assert 'instances_val2017.json does not exist' in message()


def test_image_folder(message, data):
    for image in (data / 'train2017').iterdir():
        image.unlink()
    assert f'image folder {data}/train2017/ is missing or empty' in message()


def test_categories(message, data):
    def drop(content):
        content['categories'] = [c for c in content['categories'] if c['name'] != 'zebra']

    def reverse(content):
        content['categories'].reverse()

    def remove_boxes(content):
        content['annotations'] = []

    original = (data / TRAIN).read_text()
    edit(data / TRAIN, drop)
    text = message()
    assert "lacks 1 of the 80 classes of the dataset, such as 'zebra'" in text
    assert 'metainfo.classes' in text
    (data / TRAIN).write_text(original)
    edit(data / TRAIN, reverse)
    assert 'in another order' in message()
    (data / TRAIN).write_text(original)
    edit(data / TRAIN, remove_boxes)
    assert 'no image with a box' in message()


def test_number_of_classes(message):
    text = message('model.bbox_head.num_classes=20')
    assert 'model.bbox_head has num_classes=20' in text and 'has 80 classes' in text
    assert 'model.bbox_head.num_classes=80' in text


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('spoil', ['truncated', 'unreadable', 'missing'])
def test_image(message, data, spoil, workers):
    path = sorted((data / 'train2017').iterdir())[5]
    content = path.read_bytes()
    path.unlink()
    if spoil != 'missing':
        path.write_bytes(content[: len(content) // 2] if spoil == 'truncated' else b'no image')
    text = message(
        f'train_dataloader.num_workers={workers}',
        f'train_dataloader.persistent_workers={bool(workers)}',
    )
    assert f'{path} cannot be read as an image' in text and 'take it out' in text


@pytest.mark.slow
def test_truncated_png(message, data):
    name = sorted(path.name for path in (data / 'train2017').iterdir())[3]
    _, png = cv2.imencode('.png', np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    (data / 'train2017' / name).write_bytes(png.tobytes()[:-2000])
    assert f'{name} cannot be read as an image' in message()


def test_size_that_the_boxes_do_not_fit(message, data):
    def shrink(content):
        content['images'][2].update(height=20)

    edit(data / 'annotations/instances_val2017.json', shrink)
    text = message()
    assert f'{data}/val2017/000001000003.jpg has ' in text and 'its annotation says 20x' in text


def test_prefix_without_the_images(demo_data):
    annotations = 'annotations/instances_val2017.json'
    with pytest.raises(InputError, match='set its key img to the folder'):
        CocoDataset(data_root=str(demo_data), ann_file=annotations, data_prefix=dict(imgs='x'))
