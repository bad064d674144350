"""tools/infer.py: exported files, and checkpoints of the demo's configs."""

import csv
import errno
import json

import cv2
import exported
import numpy as np
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from edgenext_mm.fileio import AtomicLocalBackend

BOXES, SCORES = [[0, 0, 16, 16], [8, 8, 32, 32], [0, 0, 9, 9]], [[0.9, 0], [0, 0.5], [0.2, 0]]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    (folder / 'more').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ('a.jpg', 'b.png', 'more/a.jpg'):
        Image.fromarray(rng.integers(0, 256, (64, 96, 3), np.uint8)).save(folder / name)
    (folder / 'notes.txt').write_text('no image')
    return folder


@pytest.fixture
def detector(tmp_path):
    return exported.constant_boxes(tmp_path / 'a.onnx', BOXES, SCORES)


def video(path, count):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 64))
    assert writer.isOpened()
    rng = np.random.default_rng(0)
    for _ in range(count):
        writer.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    return path


def fails(run_tool, capsys, *args):
    """Return the message of a run that fails, and what it printed."""
    with pytest.raises(SystemExit) as error:
        run_tool('infer.py', *args)
    return str(error.value), capsys.readouterr()


def test_objects_of_a_folder(run_tool, detector, images, tmp_path, capsys):
    run_tool('infer.py', detector, images, '--json', 'out/a.json', '--out-dir', 'out/drawn')
    printed = capsys.readouterr()
    assert 'predicted 3 images' in printed.out and 'frames/s' in printed.err
    found = json.loads((tmp_path / 'out/a.json').read_text())
    assert [one['image_id'] for one in found] == [1, 1, 2, 2, 3, 3]
    assert found[0] == {
        'image_id': 1,
        'file_name': str(images / 'a.jpg'),
        'category_id': 1,
        'category_name': 'class 0',
        'bbox': [0, 0, 48, 32],
        'score': 0.9,
    }
    for name in ('a.jpg', 'b.png', 'more/a.jpg'):
        drawn = np.array(Image.open(tmp_path / 'out/drawn' / name)).astype(int)
        plain = np.array(Image.open(images / name))
        assert drawn.shape == plain.shape and np.abs(drawn - plain).max() > 50
    # A pattern, a file twice, another threshold.
    run_tool(
        'infer.py',
        detector,
        f'{images}/*.jpg',
        images / 'a.jpg',
        '--json',
        'a.json',
        '--out-dir',
        'two',
        '--score-thr',
        0.1,
        '--runtime',
        'openvino',
        *('--threads', 1, '--precision', 'f32'),
    )
    assert len(json.loads((tmp_path / 'a.json').read_text())) == 2 * 3
    assert {path.name for path in (tmp_path / 'two').iterdir()} == {'a.jpg', 'a_2.jpg'}


def test_masks(run_tool, images, tmp_path):
    path = exported.brightest_channel(tmp_path / 'a.onnx')
    run_tool('infer.py', path, images, '--masks', 'masks', '--out-dir', 'drawn')
    mask = Image.open(tmp_path / 'masks/b.png')
    assert mask.mode == 'P' and mask.size == (96, 64)
    assert mask.getpalette()[:9] == [255, 0, 0, 0, 255, 0, 0, 0, 255]
    assert set(np.unique(np.array(mask))) == {0, 1, 2}
    assert (tmp_path / 'masks/more/a.png').exists() and (tmp_path / 'drawn/a.jpg').exists()


def test_classes(run_tool, images, tmp_path):
    path = exported.mean_color(tmp_path / 'a.onnx')
    run_tool('infer.py', path, images, '--csv', 'a.csv', '--out-dir', 'drawn')
    rows = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert len(rows) == 3 * 3 and rows[0]['rank'] == '1' and rows[0]['frame'] == ''
    assert {row['class'] for row in rows} == {'red', 'green', 'blue'}
    assert all(0 <= float(row['score']) <= 1 for row in rows)


def test_a_video(run_tool, detector, tmp_path, capsys):
    clip = video(tmp_path / 'clip.avi', 12)
    run_tool('infer.py', detector, clip, '--json', 'a.json', '--out-dir', 'drawn')
    assert 'predicted 12 images' in capsys.readouterr().out
    found = json.loads((tmp_path / 'a.json').read_text())
    assert [one['frame'] for one in found] == [i // 2 for i in range(24)]
    assert len(list((tmp_path / 'drawn').glob('clip_0000*.jpg'))) == 12


def test_goes_on_after_bad_files(run_tool, detector, images, tmp_path, capsys):
    (images / 'aa.jpg').write_bytes((images / 'a.jpg').read_bytes()[:500])
    (images / 'no.mp4').write_bytes(b'no video')
    whole = video(tmp_path / 'whole.avi', 12).read_bytes()
    (images / 'short.avi').write_bytes(whole[: len(whole) // 2])
    message, printed = fails(
        run_tool, capsys, detector, images, 'missing.png', '--json', 'a.json', '--out-dir', 'out'
    )
    assert message.startswith('error: 4 faults:\n')
    for part in (
        'aa.jpg cannot be read as an image',
        'no.mp4 cannot be opened',
        'short.avi ends early: ',
        'missing.png cannot be read',
    ):
        assert part in message
    found = json.loads((tmp_path / 'a.json').read_text())
    frames = sum(one.get('frame') is not None for one in found) // 2
    assert 0 < frames < 12 and len(found) == 2 * (3 + frames)
    assert f'predicted {3 + frames} images' in printed.out


def test_what_cannot_be_written(run_tool, detector, images, tmp_path, capsys, monkeypatch):
    (tmp_path / 'file').write_text('')
    for option in ('--out-dir', '--json'):
        path = 'file' if option == '--out-dir' else 'file/a.json'
        message, _ = fails(run_tool, capsys, detector, images, option, path)
        assert message.startswith('error: file') and 'cannot be written' in message
    put, count = AtomicLocalBackend.put, iter(range(100))

    def full(self, content, path):
        if str(path).endswith('.png') and next(count) >= 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, content, path)

    monkeypatch.setattr(AtomicLocalBackend, 'put', full)
    message, _ = fails(run_tool, capsys, detector, images, '--out-dir', 'out', '--json', 'a.json')
    assert message == (
        'error: out/b.png cannot be written (No space left on device): 1 images are done, and '
        'written before it'
    )
    assert (tmp_path / 'out/a.jpg').exists()
    assert len(json.loads((tmp_path / 'a.json').read_text())) >= 2


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'nothing would be written'),
        (
            ['--csv', 'a.csv'],
            '--csv is for models of classification, and this one',
        ),
        (['--json', 'a', '--device', 'cpu'], '--device is for configs'),
        (['--json', 'a', '--checkpoint', 'a.pth'], '--checkpoint is for configs'),
        (['--json', 'a', '--runtime', 'ncnn'], 'no file for ncnn'),
    ],
)
def test_options_that_do_not_fit(run_tool, detector, images, capsys, words, message):
    assert message in fails(run_tool, capsys, detector, images, *words)[0]


def test_inputs_and_models_that_are_none(run_tool, detector, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    for word in ('empty', '*.jpg'):
        message, _ = fails(run_tool, capsys, detector, word, '--json', 'a.json')
        assert f'{word} has no images or videos' in message
    message, _ = fails(run_tool, capsys, detector, 99, '--json', 'a.json')
    assert 'camera 99 cannot be opened' in message
    demo = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'
    assert 'needs its weights' in fails(run_tool, capsys, demo, '.', '--json', 'a')[0]
    message, _ = fails(run_tool, capsys, demo, '.', '--json', 'a', '--threads', 2)
    assert '--threads is for exported files' in message
    maps = exported.write(
        tmp_path / 'maps.onnx',
        exported.metadata('features', 'features', ['scores']),
        *exported.IDENTITY,
    )
    assert 'bare backbone' in fails(run_tool, capsys, maps, 'a.jpg', '--json', 'a')[0]
    message, _ = fails(run_tool, capsys, detector, 'a.jpg', '--json', 'a', '--precision', 'f32')
    assert 'onnxruntime computes in the precision of the file' in message


def test_the_page_names_what_it_needs(run_tool, detector, monkeypatch):
    monkeypatch.setattr('edgenext_mm.export.options.find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r"gradio is not installed: pip install .*\[demo\]'"):
        run_tool('demo.py', detector)


def test_no_file_takes_the_place_of_another(run_tool, images, detector, tmp_path, capsys):
    before = (images / 'a.jpg').read_bytes()
    message, _ = fails(run_tool, capsys, detector, images, '--out-dir', images)
    assert 'a.jpg would be overwritten: choose another folder' in message
    assert (images / 'a.jpg').read_bytes() == before
    (images / 'a.png').write_bytes((images / 'b.png').read_bytes())
    path = exported.brightest_channel(tmp_path / 'b.onnx')
    run_tool('infer.py', path, f'{images}/*', '--masks', 'masks')
    assert {path.name for path in (tmp_path / 'masks').iterdir()} == {'a.png', 'a_2.png', 'b.png'}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'option', 'out'),
    [
        (CONFIGS / 'ssdlite_edgenext_xx_small_demo.py', '--json', 'a.json'),
        (SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py', '--masks', 'masks'),
        (CLS_CONFIGS / 'edgenext_xx_small_demo.py', '--csv', 'a.csv'),
    ],
)
def test_configs(run_tool, images, tmp_path, config, option, out, capsys):
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'a.pth')
    (images / 'broken.jpg').write_bytes(b'no image')
    words = [config, images, '--checkpoint', tmp_path / 'a.pth', '--device', 'cpu']
    message, printed = fails(
        run_tool, capsys, *words, option, out, '--out-dir', 'out', '--score-thr', 0.0
    )
    assert 'predicted 3 images' in printed.out
    assert message.startswith('error: 1 faults:\n') and 'broken.jpg' in message
    assert (tmp_path / 'out/more/a.jpg').exists()
    if option == '--json':
        found = json.loads((tmp_path / out).read_text())
        assert {one['image_id'] for one in found} == {1, 2, 3}
    elif option == '--masks':
        assert np.array(Image.open(tmp_path / out / 'b.png')).shape == (64, 96)
    else:
        rows = list(csv.DictReader((tmp_path / out).open()))
        assert len(rows) == 15 and rows[0]['class'] in cfg.metainfo.classes
