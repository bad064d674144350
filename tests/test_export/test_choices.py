"""Files that take images of several sizes, choose boxes themselves or have half the bits."""

import pytest
import torch
from small_exports import TASKS, check, formats, in_full, model, write

from edgenext_mm.errors import InputError
from edgenext_mm.export.options import FORMATS, Options


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', formats(*[name for name in FORMATS if FORMATS[name].dynamic]))
def test_a_file_of_free_size_takes_several_in_turn(name, task, tmp_path):
    path = tmp_path / f'model{FORMATS[name].suffix}'
    settings = Options(name, dynamic=('batch', 'size'))
    if (name, task) == ('exported_program', 'detection'):
        with pytest.raises(InputError, match=r'one pixel.*Choose torchscript or onnx'):
            write(path, settings, task, model(task), size=None)
        return
    reference, inputs, _ = write(path, settings, task, model(task), size=None)
    session = in_full(path)
    for batch, *size in ((2, 64, 96), (1, 80, 160), (3, 96, 64)):
        check(session, reference, [torch.rand(batch, 3, *size) * 255, *inputs[1:]])


@pytest.mark.slow
@pytest.mark.parametrize('name', formats(*[name for name in FORMATS if FORMATS[name].nms]))
def test_suppression_in_the_file(name, tmp_path):
    path = tmp_path / f'model{FORMATS[name].suffix}'
    settings = Options(name, nms=True)
    built = model('detection')
    reference, inputs, _ = write(path, settings, 'detection', built)
    check(in_full(path), reference, inputs)
    built.bbox_head.test_cfg.score_thr = 1.0
    write(path, settings, 'detection', built)
    boxes, scores, labels = in_full(path).run({'image': inputs[0].numpy()})
    assert boxes.shape == (0, 4) and len(scores) == len(labels) == 0


@pytest.mark.parametrize('name', ('openvino', 'ncnn'))
def test_half_is_half_as_large(name, tmp_path):
    sizes = []
    built = model('classification')
    for half in (False, True):
        path = tmp_path / f'{half}{FORMATS[name].suffix}'
        reference, inputs, _ = write(path, Options(name, half=half), 'classification', built)
        weights = path.with_suffix('.bin') if name == 'openvino' else path / 'model.ncnn.bin'
        sizes.append(weights.stat().st_size)
        check(in_full(path), reference, inputs, 'float16' if half else 'float32')
    assert sizes[1] < 0.7 * sizes[0]
