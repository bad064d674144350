"""tools/check_dataset.py, and what training says of the same faults."""

import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import CONFIGS, SEG_CONFIGS
from PIL import Image

SEG = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'
DET = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'


@pytest.fixture
def data(demo_data, tmp_path):
    """A copy of the demo data to spoil."""
    return shutil.copytree(demo_data, tmp_path / 'data')


@pytest.fixture
def mask(data):
    return sorted((data / 'VOC2012/SegmentationClass').iterdir())[5]


@pytest.fixture
def message(run_tool, data):
    """Run a tool on the data and return its error."""

    def run(config, *options, tool='check_dataset.py'):
        with pytest.raises(SystemExit) as stop:
            run_tool(tool, config, *options, data_root=data)
        text = str(stop.value)
        assert text.startswith('error: ') and 'Traceback' not in text
        return text

    return run


def rows(output):
    """The cells of the tables in Markdown."""
    lines = [line for line in output.splitlines() if line.startswith('| ')]
    return [line.strip('| ').split(' | ') for line in lines]


def test_segmentation_summary(run_tool, demo_data, capsys, tmp_path):
    run_tool('check_dataset.py', SEG)
    output = capsys.readouterr().out
    folder = demo_data / 'VOC2012'
    names = (folder / 'ImageSets/Segmentation/train.txt').read_text().split()
    masks = [np.array(Image.open(folder / f'SegmentationClass/{name}.png')) for name in names]
    counts = sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)[:7]
    table = rows(output)[:8]
    assert table[0] == ['class', 'images', 'pixels (%)']
    for i, (name, images, share) in enumerate(table[1:]):
        assert int(images) == sum((mask == i).any() for mask in masks), name
        assert float(share) == pytest.approx(100 * counts[i] / counts.sum(), abs=0.006)
    heights, widths = np.transpose([mask.shape for mask in masks])
    assert f'train: 32 images, {widths.min()} to {widths.max()} pixels wide' in output
    assert f'and {heights.min()} to {heights.max()} high' in output
    assert 'val: 8 images' in output and 'test' not in output
    assert cv2.imread(str(tmp_path / f'work_dirs/{SEG.stem}/dataset.png')).std() > 5


def test_detection_summary(run_tool, demo_data, capsys, tmp_path):
    run_tool('check_dataset.py', DET, '--out', tmp_path / 'out/picture.png')
    content = json.loads((demo_data / 'annotations/instances_train2017.json').read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    table = rows(capsys.readouterr().out)[:7]
    assert table[0] == ['class', 'images', 'boxes', 'small', 'medium', 'large']
    for name, *numbers in table[1:]:
        items = [a for a in content['annotations'] if names[a['category_id']] == name]
        sides = np.array([(a['bbox'][2] * a['bbox'][3]) ** 0.5 for a in items])
        assert list(map(int, numbers)) == [
            len({a['image_id'] for a in items}),
            len(items),
            (sides < 32).sum(),
            ((sides >= 32) & (sides < 96)).sum(),
            (sides >= 96).sum(),
        ]
    assert cv2.imread(str(tmp_path / 'out/picture.png')).std() > 5


def test_class_id_beyond_the_list(message, mask):
    labels = np.array(Image.open(mask))
    labels[::2], labels[1::2] = 9, 42
    Image.fromarray(labels).save(mask)
    text = message(SEG)
    assert f'{mask} has the class ids 9, 42, which are beyond the 7 classes' in text
    options = ('train_dataloader.batch_size=4', 'train_cfg.max_iters=8')
    text = message(SEG, '--cfg-options', *options, tool='train.py')
    assert f'{mask} has the class ids 9, 42' in text


@pytest.mark.slow
def test_size_unlike_the_image(message, mask):
    image = Image.open(mask)
    width, height = image.size
    image.resize((width // 2, height)).save(mask)
    assert f'{mask} has {height}x{width // 2} pixels and its image' in message(SEG)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_colour_mask(message, mask, mode):
    Image.open(mask).convert('RGBA').convert(mode).save(mask)
    assert f'{mask} is a colour image, and a mask holds one class id per pixel' in message(SEG)


def test_missing_and_broken_files(message, data, mask):
    image = data / f'VOC2012/JPEGImages/{mask.stem}.jpg'
    content, labels = image.read_bytes(), mask.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    assert f'{image} cannot be read as an image' in message(SEG)
    image.write_bytes(content)
    mask.write_bytes(labels[: len(labels) // 2])
    assert f'{mask} cannot be read as an image' in message(SEG)
    mask.unlink()
    text = f'1 of 32 masks are missing, such as {mask}'
    assert text in message(SEG) and text in message(SEG, tool='train.py')
    mask.write_bytes(labels)
    image.unlink()
    text = f'1 of 32 images are missing, such as {image}'
    assert text in message(SEG) and text in message(SEG, tool='train.py')
    split = data / 'VOC2012/ImageSets/Segmentation/train.txt'
    split.unlink()
    text = f'the split file {split} does not exist'
    assert text in message(SEG) and text in message(SEG, tool='train.py')


def test_all_problems_are_named_at_once(message, data):
    masks = sorted((data / 'VOC2012/SegmentationClass').iterdir())
    for mask in masks[:30]:
        Image.open(mask).convert('RGB').save(mask)
    (data / 'VOC2012/ImageSets/Segmentation/val.txt').unlink()
    text = message(SEG)
    assert 'train data, problems: 30\n' in text and 'val data, problems: 1\n' in text
    assert [str(mask) in text for mask in masks] == [True] * 20 + [False] * 20


def test_ids_that_eight_bits_do_not_hold(message, mask):
    """mmseg would read 256 as background and 65535 as ignored."""
    labels = np.array(Image.open(mask)).astype(np.uint16)
    labels[:4], labels[4:8] = 256, 65535
    Image.fromarray(labels).save(mask)
    assert f'{mask} has the class ids 256, 65535, which are beyond' in message(SEG)


def test_libraries_own_data_sets(message, data, mask):
    """mmseg's own types fail with words of their own."""
    (data / 'VOC2012/ImageSets/Segmentation/train.txt').unlink()
    text = message(SEG, '--cfg-options', 'train_dataloader.dataset.type=BaseSegDataset')
    assert 'train.txt' in text


def test_detection_faults(message, data, capsys):
    path = data / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    first, second, third = (image['file_name'] for image in content['images'][:3])
    content['images'][0]['width'] += 100
    box = next(a for a in content['annotations'] if a['image_id'] == content['images'][1]['id'])
    x, y, w, h = box['bbox']
    box['bbox'] = [x, y, x + w + 300, y + h + 300]
    path.write_text(json.dumps(content))
    (data / 'train2017' / third).write_bytes(b'no image')
    text = message(DET)
    assert 'train data, problems: 2' in text
    assert f'{data}/train2017/{first} has ' in text and 'its annotation says' in text
    noted = f'used: 1 boxes that reach beyond their image, such as {data}/train2017/{second}'
    assert noted in capsys.readouterr().out
    assert f'{data}/train2017/{third} cannot be read as an image' in text


def test_bad_config(message):
    assert 'file nowhere.py does not exist' in message('nowhere.py')
