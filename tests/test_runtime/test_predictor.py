import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import exported
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from edgenext_mm import resize
from edgenext_mm.errors import InputError
from edgenext_mm.runtime import Predictor
from edgenext_mm.runtime.predictor import prepare

RNG = np.random.default_rng(0)
FREE = exported.COLOR
FIXED = FREE | dict(size=[48, 64])


def noise(height, width, *channels):
    return RNG.integers(0, 256, (height, width, *channels), np.uint8)


STEPS = [
    ('mmdet', [exported.resized(64, 48)]),
    ('mmdet', [exported.resized(64, 48) | dict(keep_ratio=True)]),
    ('mmseg', [exported.resized(200, 50, interpolation='bilinear') | dict(keep_ratio=True)]),
    ('mmpretrain', [dict(type='CenterCrop', crop_size=[40, 37])]),
    *(
        (
            'mmpretrain',
            [
                dict(type='ResizeEdge', scale=45, edge=edge, interpolation=method, backend=backend),
                dict(type='CenterCrop', crop_size=[36, 41]),
            ],
        )
        for edge, method, backend in [
            ('short', 'bicubic', 'pillow'),
            ('long', 'bilinear', 'pillow'),
            ('width', 'bicubic', 'cv2'),
            ('height', 'bilinear', 'cv2'),
        ]
    ),
]


@pytest.mark.parametrize(('scope', 'steps'), STEPS)
@pytest.mark.parametrize('size', [(97, 61), (60, 97), (64, 64), (35, 40), (480, 33)])
def test_prepares_as_the_test_pipeline(scope, steps, size):
    image = noise(*size, 3)
    names = {'crop_size': tuple, 'scale': lambda x: tuple(x) if isinstance(x, list) else x}
    theirs = [
        {key: names.get(key, lambda x: x)(value) for key, value in step.items()} for step in steps
    ]
    with DefaultScope.overwrite_default_scope(scope):
        results = dict(img=image, img_shape=size, ori_shape=size)
        for step in theirs:
            results = TRANSFORMS.build(step)(results)
        expected = results['img']
    ready = prepare(image, dict(prepare=steps, input=FREE, mean=[1, 2, 3]))
    assert ready.size == expected.shape[:2] and ready.image.dtype == np.float32
    np.testing.assert_array_equal(ready.image[0].transpose(1, 2, 0)[:, :, ::-1], expected)


def test_pads_with_the_mean():
    image = noise(33, 70, 3)
    meta = dict(prepare=[dict(type='Pad', size_divisor=32)], input=FREE, mean=[1, 2, 3])
    ready = prepare(image, meta)
    assert ready.size == (33, 70) and ready.image.shape == (1, 3, 64, 96)
    assert (ready.image[0, :, 33:].transpose(1, 2, 0) == [1, 2, 3]).all()
    assert (ready.image[0, :, :, 70:].transpose(1, 2, 0) == [1, 2, 3]).all()
    fit = dict(type='Fit', size=[40, 40], interpolation='bilinear', backend='cv2')
    ready = prepare(image, meta | dict(prepare=[fit, *meta['prepare']]))
    assert ready.size == (19, 40) and ready.image.shape == (1, 3, 64, 64)
    assert prepare(noise(1, 500, 3), meta | dict(prepare=[fit])).size == (1, 40)


RUNTIMES = ['onnxruntime', 'openvino', 'opencv']


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_finds_objects(tmp_path, runtime):
    pytest.importorskip(dict(opencv='cv2').get(runtime, runtime))
    boxes = [[0, 0, 16, 16], [0, 0, 16, 15], [8, 8, 40, 40], [4, 4, 4, 30], [0, 0, 8, 8]]
    scores = [[0.5, 0.2], [0.6, 0.1], [0.3, 0.0], [0.9, 0.9], [0.0, 0.005]]
    path = exported.constant_boxes(tmp_path / 'a.onnx', boxes, scores)
    predictor = Predictor(path, runtime, threads=1, precision='f32')
    found = predictor(noise(64, 96, 3))
    assert found.names == ['class 0', 'class 1']
    # From 32x32 pixels to 96x64 (width x height), within the image.
    expected = [[0, 0, 48, 30], [24, 16, 96, 64], [0, 0, 48, 32]]
    np.testing.assert_allclose(found.boxes, expected, rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.6, 0.3, 0.2], rtol=1e-6)
    assert found.labels.tolist() == [0, 0, 1] and found.boxes.dtype == np.float32


def test_boxes_end_where_the_padding_begins(tmp_path):
    steps = [dict(type='Pad', size_divisor=32)]
    path = exported.constant_boxes(tmp_path / 'a.onnx', [[0, 0, 64, 64]], [[0.5]], prepare=steps)
    assert Predictor(path)(noise(40, 50, 3)).boxes.tolist() == [[0, 0, 50, 40]]


def test_levels_of_free_sizes(tmp_path):
    counts = [2 * 4 * 6, 2 * 2 * 3, 1 * 2, 3]
    boxes = exported_boxes(sum(counts))
    scores = np.linspace(0.02, 0.9, sum(counts))[:, None]
    post = dict(score_thr=0.01, nms_pre=2, iou_threshold=0.5, max_per_img=200, min_bbox_size=0)
    cells = dict(anchor_cells=dict(stride=16, per_cell=[2, 2, 1, 3]))
    steps = [dict(type='Pad', size_divisor=32)]
    path = exported.constant_boxes(
        tmp_path / 'a.onnx', boxes, scores, postprocess=post | cells, prepare=steps
    )
    found = Predictor(path)(noise(60, 90, 3))
    ends = np.cumsum(counts)
    kept = [end - i - 1 for end in ends for i in range(2)]
    np.testing.assert_allclose(np.sort(found.scores), np.sort(scores[kept, 0]), rtol=1e-6)


def exported_boxes(count):
    """Boxes that do not overlap."""
    x, y = np.meshgrid(np.arange(10) * 6, np.arange(10) * 6)
    corners = np.stack([x, y], -1).reshape(-1, 2)[:count]
    return np.concatenate([corners, corners + 5], 1)


@pytest.mark.parametrize('fixed', [False, True])
@pytest.mark.parametrize('size', [(40, 30), (30, 40), (97, 131)])
@pytest.mark.parametrize('without', [(), ('cv2', 'pillow')])
def test_masks_are_those_of_mmseg(tmp_path, monkeypatch, fixed, size, without):
    if without:
        monkeypatch.setattr(resize, '_library', lambda backend: None)
    step = exported.resized(64, 48, interpolation='bilinear') | dict(keep_ratio=True)
    if fixed:
        step = dict(type='Fit', size=[48, 64], interpolation='bilinear', backend='cv2')
    meta = dict(input=FIXED if fixed else FREE, prepare=[step])
    image = noise(*size, 3)
    predictor = Predictor(exported.brightest_channel(tmp_path / 'a.onnx', **meta))
    found = predictor(image)
    ready = prepare(image, predictor.metadata)
    logits = torch.tensor(ready.image)[:, :, : ready.size[0], : ready.size[1]]
    logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    assert found.mask.shape == size and found.palette[0] == [255, 0, 0]
    np.testing.assert_allclose((found.mask != logits[0].argmax(0).numpy()).mean(), 0, atol=1e-3)
    # And by the file itself.
    meta['output'] = dict(form='mask', names=['mask'])
    found = Predictor(exported.brightest_channel(tmp_path / 'b.onnx', **meta))(image)
    assert found.mask.shape == size and found.mask.dtype == np.int32
    if fixed:
        assert set(np.unique(found.mask)) == {0, 1, 2}
    else:
        assert (found.mask != logits[0].argmax(0).numpy()).mean() < 1e-3


def test_scores_of_classes(tmp_path):
    path = exported.mean_color(tmp_path / 'a.onnx')
    image = np.zeros((20, 20, 3), np.uint8)
    image[:] = [51, 102, 204]  # blue, green, red
    found = Predictor(path, task='classification')(image)
    assert [name for name, _ in found.top(2)] == ['red', 'green']
    np.testing.assert_allclose(found.scores, [0.8, 0.4, 0.2], rtol=1e-6)
    Image.fromarray(image[:, :, ::-1]).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(Predictor(path)(tmp_path / 'a.png').scores, found.scores)


@pytest.mark.parametrize(('color_type', 'channels'), [('grayscale', 1), (4, 4), (1, 1)])
def test_grey_and_bands(tmp_path, color_type, channels):
    given = dict(batch=None, size=None, channels=channels, color_type=color_type)
    names = [str(i) for i in range(channels)]
    settings = dict(input=given, mean=[0] * channels, classes=names)
    predictor = Predictor(exported.mean_color(tmp_path / 'a.onnx', **settings))
    shape = (32, 32) if channels == 1 else (32, 32, channels)
    image = noise(*shape)
    expected = image.reshape(-1, channels).mean(0) / 255
    np.testing.assert_allclose(predictor(image).scores, expected, rtol=1e-5)
    np.testing.assert_allclose(predictor(image.reshape(32, 32, -1)).scores, expected, rtol=1e-5)
    with pytest.raises(InputError, match='is for images'):
        predictor(image[0, :, 0] if channels > 1 else image[0])
    if color_type != 'grayscale':
        found = predictor(image.astype(np.float32) * 256).scores
        np.testing.assert_allclose(found, expected * 256, rtol=1e-5)


@pytest.mark.parametrize('kind', ['onnxruntime', 'openvino', 'opencv', 'litert', 'ncnn'])
def test_other_formats(tmp_path, kind):
    one = exported.mean_color(tmp_path / 'a.onnx')
    meta = Predictor(one).metadata
    if kind == 'openvino':
        path = exported.openvino_file(one, tmp_path / 'a.xml')
    elif kind == 'litert':
        path = exported.mean_color_of_litert(tmp_path / 'a.tflite', meta)
    elif kind == 'ncnn':
        path = exported.mean_color_of_ncnn(tmp_path / 'a_ncnn', meta)
    else:
        path = shutil.copy(one, tmp_path / 'b.onnx')
    predictor, image = Predictor(path, kind, threads=1, precision='f32'), noise(50, 60, 3)
    assert predictor.metadata == meta and predictor.session.runtime == kind
    found = predictor(image)
    assert found.scores.shape == (3,)
    np.testing.assert_allclose(found.scores, Predictor(one)(image).scores, rtol=1e-4)
    # The runtime's part ends with the predictor, in this thread: the garbage collector would end it
    # at any time, in any thread.
    runs = weakref.ref(predictor.session._run)
    del predictor
    assert runs() is None
    # Files that are cut short, or whose metadata are gone.
    file = path / 'model.ncnn.param' if kind == 'ncnn' else path
    whole = file.read_bytes()
    for content in (b'', whole[:5], whole[: len(whole) // 3]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=path.name):
            Predictor(path, kind)(image)


def test_images_that_do_not_fit(tmp_path):
    predictor = Predictor(exported.mean_color(tmp_path / 'a.onnx'))
    for image in (
        noise(0, 10, 3),
        noise(10, 0, 3),
        noise(10, 10),
        noise(10, 10, 1),
        noise(10, 10, 4),
        noise(3, 10, 10),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((10, 10, 3), bool),
        np.zeros((1, 10, 10, 3), np.uint8),
        np.zeros(3, np.uint8),
        np.array(3),
    ):
        with pytest.raises(
            InputError, match=r'a\.onnx is for images \(height, width, 3\) of uint8'
        ):
            predictor(image)
    (tmp_path / 'a.jpg').write_bytes(b'no image')
    for name in ('a.jpg', 'missing.jpg'):
        with pytest.raises(InputError, match=f'{name} cannot be read as an image'):
            predictor(str(tmp_path / name))


def test_files_that_are_none(tmp_path):
    whole = exported.mean_color(tmp_path / 'whole.onnx').read_bytes()
    files = {
        'empty.onnx': b'',
        'photo.onnx': b'\xff\xd8\xff\xe0' * 1000,
        'half.onnx': whole[: len(whole) // 2],
        'cut.onnx': whole[:-40],
        'middle.onnx': whole[:60] + whole[100:],
        'text.xml': b'<net><layers>',
        'no_metadata.xml': b'<net/>',
        'text.tflite': b'1234TFL3',
        'network.bin': whole,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            Predictor(tmp_path / name)
    exported.mean_color(tmp_path / 'a.onnx')
    exported.write(tmp_path / 'foreign.onnx', None, *exported.IDENTITY)
    for name, message in {
        'foreign.onnx': 'has no metadata of edgenext_mm',
        'missing.onnx': 'does not exist',
        '.': 'has no metadata',
        'network.bin': r'no file for a predictor \(onnxruntime: .onnx',
    }.items():
        with pytest.raises(InputError, match=message):
            Predictor(tmp_path / name)
    with pytest.raises(InputError, match='no file for ncnn'):
        Predictor(tmp_path / 'a.onnx', runtime='ncnn')
    with pytest.raises(InputError, match='no file for tensorrt'):
        Predictor(tmp_path / 'a.onnx', runtime='tensorrt')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(format=2), 'format 2 for classification by scores, not format 1'),
        (dict(task='detection'), 'for detection by scores, not format 1 for a predictor'),
        (dict(output=dict(form='raw_boxes', names=['scores'])), 'raw_boxes'),
        (dict(output=dict(form='scores', names=['other'])), 'other'),
        (dict(output={}), 'no metadata'),
        (dict(input=None), 'broken metadata'),
        (dict(input=dict(channels=3)), "broken metadata .KeyError.'color_type'"),
        (dict(prepare=[dict(type='Rotate')]), 'broken metadata .*Rotate'),
        (dict(prepare=[dict(type='Resize', scale=[3, 3])]), 'broken metadata'),
        (dict(classes=['one']), 'other classes than its metadata'),
    ],
)
def test_metadata_that_do_not_fit(tmp_path, settings, message):
    path = exported.mean_color(tmp_path / 'a.onnx', **settings)
    with pytest.raises(InputError, match=message):
        Predictor(path)(noise(8, 8, 3))


def test_another_task(tmp_path):
    path = exported.mean_color(tmp_path / 'a.onnx')
    with pytest.raises(InputError, match='1 for classification by scores, not format 1 for detect'):
        Predictor(path, task='detection')


def test_numbers_that_are_not_finite(tmp_path):
    path = exported.constant_boxes(tmp_path / 'a.onnx', [[0, 0, 9, np.nan]], [[0.5]])
    with pytest.raises(InputError, match='not finite'):
        Predictor(path)(noise(8, 8, 3))


def test_runtime_that_is_not_installed(tmp_path, monkeypatch):
    path = exported.mean_color(tmp_path / 'a.onnx')
    for name, line in dict(
        onnxruntime=r"pip install 'edgenext_mm\[runtime\]'", openvino="pip install 'openvino'"
    ).items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(InputError, match=line):
            Predictor(path, runtime=name)


def test_session_made_elsewhere(tmp_path):
    class Session:
        metadata = exported.metadata('features', 'features', ['features_0'])

        def run(self, inputs):
            return [inputs['image'][:, :, ::4, ::4]]

    (maps,) = Predictor('network.pte', session=Session())(noise(8, 8, 3))
    assert maps.shape == (1, 3, 8, 8)


ALONE = """
import sys, time
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        allowed = sys.stdlib_module_names | {'numpy', 'onnxruntime', 'edgenext_mm', *sys.argv[3:]}
        if name.partition('.')[0] not in allowed:
            raise ImportError(f'{name} is not here')

sys.meta_path.insert(0, Nothing())
start = time.process_time()
from edgenext_mm.runtime import Predictor
print(time.process_time() - start)
assert not {'onnxruntime', 'PIL', 'cv2'} & set(sys.modules)
import numpy as np
image = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
found = Predictor(sys.argv[1], threads=1)(image)
print(found[0].tolist())
try:
    Predictor(sys.argv[1])('image.png')
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize('kind', ['constant_boxes', 'brightest_channel', 'mean_color'])
def test_needs_numpy_and_the_runtime_alone(tmp_path, kind):
    arguments = [[[0, 0, 9, 9]], [[0.5]]] if kind == 'constant_boxes' else []
    path = getattr(exported, kind)(tmp_path / 'a.onnx', *arguments)
    command = [sys.executable, '-c', ALONE, path, tmp_path, 'flatbuffers', 'google', 'packaging']
    run = subprocess.run(
        [*map(str, command)],
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    seconds, found, message = run.stdout.splitlines()
    assert float(seconds) < 0.5
    assert message == 'reading image.png needs Pillow: pip install pillow'
    image = np.arange(20 * 30 * 3).reshape(20, 30, 3).astype(np.uint8)
    expected = Predictor(path)(image)[0]
    np.testing.assert_allclose(np.array(eval(found)), expected, atol=0.01)


OPENVINO = """
import threading
from edgenext_mm.runtime.sessions import openvino_core
openvino_core()
import edgenext_mm.export.formats.openvino, nncf
assert threading.active_count() == 1
"""


@pytest.mark.slow
def test_openvino_reports_nothing(tmp_path):
    """By its telemetry, it would with each import, which needs a thread and leaves two files."""
    pytest.importorskip('nncf')
    env = dict(os.environ, HOME=str(tmp_path), PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, '-c', OPENVINO], cwd=tmp_path, env=env, check=True)
    assert not [*tmp_path.iterdir()]


def test_is_small():
    files = Path(ROOT / 'edgenext_mm' / 'runtime').glob('*.py')
    assert sum(len(file.read_text().splitlines()) for file in files) < 400


SIGNAL_AFTER_A_SESSION = """
import gc, os, signal, sys, threading
from edgenext_mm.runtime.sessions import Session
signal.signal(signal.SIGUSR1, lambda *_: print('handled'))
sessions = [Session(sys.argv[1], 'openvino')]
other = threading.Thread(target=lambda: (sessions.clear(), gc.collect()))
other.start()
other.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_session_that_ends_in_another_thread_leaves_signals_alone(tmp_path):
    pytest.importorskip('openvino')
    path = exported.mean_color(tmp_path / 'a.onnx')
    command = [sys.executable, '-c', SIGNAL_AFTER_A_SESSION, str(path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout == b'handled\n'
