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
def quick_picture(monkeypatch):
    """Make the picture, but leave out Matplotlib's drawing of it, which takes longest."""
    monkeypatch.setattr('edgenext_mm.analysis.summary.render', lambda figure, path: b'')


@pytest.fixture
def message(run_tool, data, quick_picture):
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


def test_size_unlike_the_image(message, mask):
    image = Image.open(mask)
    width, height = image.size
    image.resize((width // 2, height)).save(mask)
    assert f'{mask} has {height}x{width // 2} pixels and its image' in message(SEG)


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_colour_mask(message, mask, mode):
    Image.open(mask).convert('RGBA').convert(mode).save(mask)
    assert f'{mask} is a colour image, and a mask holds one class id per pixel' in message(SEG)


@pytest.mark.slow
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


def test_reads_on(message, data, capsys):
    """Faults of all kinds are named at once, in annotations, images and what is missing."""
    path = data / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    one, two, three = content['annotations'][:3]
    one['bbox'], two['category_id'] = [1, 2, 3], 1234
    three['bbox'] = [float('nan')] * 4
    path.write_text(json.dumps(content))
    broken = data / 'train2017' / content['images'][-1]['file_name']
    broken.write_bytes(b'no image')
    text = message(DET)
    assert 'train data, problems: 4\n' in text
    assert all(f'annotation {item["id"]} has the' in text for item in (one, two, three))
    assert f'{broken} cannot be read as an image' in text
    assert text.endswith('Training cannot start: 4 problems of train data.')
    assert 'train: 31 images' in capsys.readouterr().out  # the rest is counted
    text = message(DET, tool='train.py')
    assert f'annotation {one["id"]} has the' in text and '(and 2 more such faults' in text


def test_left_out_and_ignored(run_tool, data, capsys, tmp_path):
    path = data / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    crowd, flat = content['annotations'][5:7]
    crowd['iscrowd'], flat['bbox'][2] = 1, 0
    del content['annotations'][9]['area']
    path.write_text(json.dumps(content))
    run_tool('check_dataset.py', DET, '--json', tmp_path / 'out.json', data_root=data)
    output = capsys.readouterr().out
    table = rows(output)[:7]
    assert table[0][-2:] == ['ignored', 'left out']
    cells = {row[0]: row[-2:] for row in table[1:]}
    counts = {name: ['0', '0'] for name in cells}
    counts[names[crowd['category_id']]][0] = '1'
    counts[names[flat['category_id']]][1] = '1'
    assert cells == counts
    assert 'left out: 1 boxes without an area, such as ' in output
    assert f'({flat["id"]})' in output and 'used: 1 areas that are missing' in output
    assert output.endswith('\nTraining can start.\n')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['can_start'] and found['verdict'] == 'Training can start.'
    train = found['datasets'][0]
    assert train['images'] == 32 and train['problems'] == []
    kinds = {note['kind']: note for note in train['notes']}
    assert kinds['boxes without an area']['id'] == flat['id']


def test_json_for_machines(run_tool, data, capsys):
    """Nothing but JSON is printed, with every name."""
    masks = sorted((data / 'VOC2012/SegmentationClass').iterdir())[:30]
    for mask in masks:
        Image.open(mask).convert('RGB').save(mask)
    with pytest.raises(SystemExit):
        run_tool('check_dataset.py', SEG, '--json=-', data_root=data)
    found = json.loads(capsys.readouterr().out)
    assert not found['can_start']
    problems = [item['message'] for item in found['datasets'][0]['problems']]
    assert all(any(str(mask) in text for text in problems) for mask in masks)


def test_train_and_val_are_compared(run_tool, data, quick_picture, capsys):
    folder = data / 'VOC2012'
    lists = {split: folder / f'ImageSets/Segmentation/{split}.txt' for split in ('train', 'val')}
    name, other = lists['train'].read_text().split()[:2]
    for source, suffix in (('JPEGImages', 'jpg'), ('SegmentationClass', 'png')):
        shutil.copy(folder / f'{source}/{name}.{suffix}', folder / f'{source}/copy.{suffix}')
    lists['val'].write_text(lists['val'].read_text() + f'copy\n{other}\n')
    run_tool('check_dataset.py', SEG, data_root=data)
    output = capsys.readouterr().out
    image = folder / f'JPEGImages/{name}.jpg'
    assert f'train and val have 2 images in common, such as {image} and ' in output
    for path in lists['val'].read_text().split():
        mask = folder / f'SegmentationClass/{path}.png'
        labels = np.array(Image.open(mask))
        labels[labels == 3] = 0
        labels[labels == 255] = 0
        Image.fromarray(labels).save(mask)
    run_tool('check_dataset.py', SEG, data_root=data)
    assert 'val has nothing of 1 classes that train has, clock' in capsys.readouterr().out


WRAPPED = """
_base_ = '{base}'
one = dict(_base_.train_dataloader.dataset)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[one, dict(one, {change})]),
    )
)
"""


@pytest.mark.slow
def test_wrappers(run_tool, message, data, tmp_path, capsys):
    config = tmp_path / 'config.py'
    config.write_text(WRAPPED.format(base=DET, change='indices=3'))
    run_tool('check_dataset.py', config, data_root=data)
    output = capsys.readouterr().out
    assert 'train 1: 32 images' in output and 'train 2: 3 images' in output
    classes = tuple('abcdefg')  # of the other part, with which it does not go together
    config.write_text(WRAPPED.format(base=SEG, change=f'metainfo=dict(classes={classes})'))
    assert 'meta information' in message(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ('train_dataloader = dict(dataset=3)', 'train_dataloader.dataset is 3'),
        ('train_dataloader = None', 'train_dataloader of the config is None'),
        ("train_dataloader = dict(dataset=dict(type='NoSuch'))", 'NoSuch'),
        (
            "steps = [dict(type='LoadImageFromFile'), dict(type='NoSuch')]\n"
            'train_dataloader = dict(dataset=dict(pipeline=steps))',
            'NoSuch',
        ),
        ('train_dataloader = dict(dataset=dict(ann_file=7))', 'ann_file of the dataset is 7'),
        ("train_dataloader = dict(dataset=dict(anfile=''))", 'did you mean ann_file?'),
        ("default_scope = 'nowhere'", 'cannot'),
        ("val_evaluator = dict(ann_file='nowhere.json')", 'nowhere.json'),
        ("val_evaluator = dict(type='NoSuch')", 'NoSuch'),
        ('raise RuntimeError', 'cannot be read as a config'),
        ('this is no program', 'cannot be read as a config'),
    ],
)
def test_configs_for_nothing(message, tmp_path, change, expected):
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{DET}'\n{change}\n")
    text = message(config)
    assert expected in text and ('Training cannot start' in text or 'as a config' in text)


def test_progress_in_lines(run_tool, demo_data, quick_picture, capsys):
    run_tool('check_dataset.py', DET, '--processes=1')
    lines = [line for line in capsys.readouterr().err.splitlines() if 'images: ' in line]
    assert sum(line.startswith('train images') for line in lines) == 11
    assert '\r' not in ''.join(lines)
