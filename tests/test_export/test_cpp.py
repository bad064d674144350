"""The program in C++ of docs/deployment.md."""

import re
import shutil
import subprocess
from pathlib import Path

import exported
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
from onnx import TensorProto, helper  # noqa: E402

# Beside those that the compiler is told of, such as by CPLUS_INCLUDE_PATH.
INCLUDE = ('/usr/include/onnxruntime', '/usr/include/onnxruntime/core/session')
HEIGHT, WIDTH = 4, 6


@pytest.fixture
def program(tmp_path):
    """Compile the program against the library of the Python package."""
    flags = ['-std=c++17', '-Wall', '-Wextra', '-Werror', *(f'-isystem{x}' for x in INCLUDE)]
    header = '#include <onnxruntime_cxx_api.h>'
    if (
        not shutil.which('g++')
        or subprocess.run(
            ['g++', *flags, '-E', '-xc++', '-'], input=header, capture_output=True, text=True
        ).returncode
    ):
        pytest.skip('no g++, or no headers of ONNX Runtime: apt install libonnxruntime-dev')
    docs = (ROOT / 'docs' / 'deployment.md').read_text()
    (code,) = re.findall(r'```cpp\n(.*?)```', docs, re.DOTALL)
    source, library = tmp_path / 'detect.cpp', tmp_path / 'libonnxruntime.so.1'
    source.write_text(code)
    folder = Path(onnxruntime.__file__).parent / 'capi'
    library.symlink_to(next(folder.glob('libonnxruntime.so.*')))
    out = tmp_path / 'detect'
    subprocess.run(
        ['g++', *flags, source, library, f'-Wl,-rpath,{tmp_path}', '-o', out], check=True
    )
    return out


def detector(path):
    """Write a detector that sees three objects, whose scores are three values of the image."""
    places = np.array([[0, 0, 1, 2], [0, 1, 3, 0], [0, 2, 0, 5]])  # image, channel, row, column
    nodes = [
        helper.make_node('GatherND', ['image', 'places'], ['values']),
        helper.make_node('Mul', ['values', 'step'], ['scores']),
        helper.make_node('Identity', ['all_boxes'], ['boxes']),
        helper.make_node('Identity', ['all_labels'], ['labels']),
    ]
    constants = [
        ('places', places),
        ('step', np.float32(1 / 256)),
        ('all_boxes', np.arange(12, dtype=np.float32).reshape(3, 4)),
        ('all_labels', np.array([1, 0, 1])),
    ]
    outputs = [
        ('boxes', TensorProto.FLOAT, [None, 4]),
        ('scores', TensorProto.FLOAT, [None]),
        ('labels', TensorProto.INT64, [None]),
    ]
    names = ['boxes', 'scores', 'labels']
    meta = exported.metadata('detection', 'detections', names, classes=['boat', 'stop sign'])
    model = onnx.load(exported.write(path, meta, nodes, outputs, constants=constants))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for place, size in zip(dims, (1, 3, HEIGHT, WIDTH), strict=True):
        place.dim_value = size
    onnx.save(model, path)
    return path


@pytest.mark.slow
def test_the_program_prints_what_the_file_finds(program, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    pixels[0, 0] = 10, 13, 32  # what a reader of texts would leave out
    photo, model = tmp_path / 'photo.ppm', detector(tmp_path / 'detector.onnx')
    Image.fromarray(pixels).save(photo)
    run = subprocess.run([program, model, photo], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    scores = pixels[[1, 3, 0], [2, 0, 5], [0, 1, 2]] / 256
    assert run.stdout.splitlines() == [
        f'stop sign {scores[0]:.6g} 0 1 2 3',
        f'boat {scores[1]:.6g} 4 5 6 7',
        f'stop sign {scores[2]:.6g} 8 9 10 11',
    ]
    Image.fromarray(pixels[:3]).save(photo)
    run = subprocess.run([program, model, photo], capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr == f'{photo} is no PPM file of 6x4 pixels\n'
