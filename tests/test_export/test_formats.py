import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, start_process
from small_exports import (
    SIZE,
    TASKS,
    check,
    formats,
    graph,
    in_full,
    model,
    skip_if_missing,
    write,
)
from small_networks import ARCH, config_of
from small_networks import TASKS as MODELS

from edgenext_mm.errors import InputError
from edgenext_mm.export import api, options
from edgenext_mm.export.files import open_session
from edgenext_mm.export.metadata import postprocessing
from edgenext_mm.export.options import FORMATS, TARGETS, Options
from edgenext_mm.export.tensorrt import OPERATIONS
from edgenext_mm.runtime.boxes import select


def check_file(name, task, bn_hs, tmp_path):
    path = tmp_path / f'model{FORMATS[name].suffix}'
    reference, inputs, info = write(path, Options(name), task, model(task, bn_hs))
    session = in_full(path)
    assert session.metadata == info
    check(session, reference, inputs)


IN_PROCESS = [name for name in FORMATS if FORMATS[name].runs_here and name != 'executorch']


@pytest.mark.slow
@pytest.mark.parametrize('bn_hs', (False, True))
@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', formats(*IN_PROCESS))
def test_a_file_computes_what_the_model_does(name, task, bn_hs, tmp_path):
    check_file(name, task, bn_hs, tmp_path)


@pytest.mark.soak  # up to a minute each
@pytest.mark.parametrize('bn_hs', (False, True))
@pytest.mark.parametrize('task', TASKS)
def test_an_executorch_file_computes_what_the_model_does(task, bn_hs, tmp_path):
    check_file('executorch', task, bn_hs, tmp_path)


@pytest.mark.slow
def test_the_tool_writes_and_checks_an_executorch_file(tmp_path, demo_data, checkpoint):
    """In a process of its own: beside the other runtimes, in a long one, ExecuTorch has crashed."""
    skip_if_missing('executorch')
    base, settings = MODELS['classification']
    settings = settings | dict(backbone=dict(arch=dict(_delete_=True, **ARCH)))
    config, path = tmp_path / 'config.py', tmp_path / 'model.pte'
    config.write_text(f'_base_ = {str(base)!r}\nmodel = {settings!r}\n')
    tool = start_process(
        *('python', ROOT / 'tools/export.py', config, checkpoint('classification')),
        *('--format', 'executorch', '--size', *SIZE, '--out', path),
        cwd=tmp_path,
        data_root=demo_data,
    )
    output, _ = tool.communicate(timeout=600)
    assert tool.returncode == 0 and 'scores: off by' in output, output
    assert 'Warning' not in output, output
    assert path.stat().st_size > 10_000
    assert json.loads(path.with_name('model.pte.json').read_text())['task'] == 'classification'


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_core_ml_converts(task, tmp_path):
    path = tmp_path / 'model.mlpackage'
    made, _, info = write(path, Options('coreml'), task, model(task))
    import coremltools

    package = coremltools.models.MLModel(str(path), skip_model_load=True)
    assert json.loads(package.user_defined_metadata['edgenext_mm']) == info
    assert [output.name for output in package.get_spec().description.output] == made.names
    with pytest.raises(InputError, match='runs on macOS'):
        open_session(path)


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('target', TARGETS)
def test_what_tensorrt_gets_it_has(target, task, tmp_path):
    import onnx

    path = tmp_path / 'model.onnx'
    settings = Options('onnx', opset=TARGETS[target], target=target)
    reference, inputs, _ = write(path, settings, task, model(task))
    nodes = onnx.load(path).graph.node
    assert {node.op_type for node in nodes} <= OPERATIONS[target]
    check(open_session(path), reference, inputs)
    if task == 'detection' and target == 'tensorrt-8.2':
        settings = Options('onnx', opset=13, target=target, nms=True)
        with pytest.raises(InputError, match=r'lacks the operation Mod, NonZero .*leave that out'):
            write(path, settings, task, model(task))


@pytest.mark.parametrize('name', FORMATS)
def test_unsuited_options_are_refused_with_the_reason(name):
    own = FORMATS[name]
    tried = {
        '--dynamic': (dict(dynamic=('size',)), 'size' in own.dynamic),
        '--half': (dict(half=True), own.half),
        '--int8': (dict(int8=True), own.int8),
        '--nms': (dict(nms=True), own.nms),
    }
    assert {option for option in tried if not tried[option][1]} == set(own.why_not)
    for option, reason in own.why_not.items():
        with pytest.raises(InputError) as caught:
            Options(name, **tried[option][0])
        assert str(caught.value) == f'{option} is not for {name}: {reason}'


@pytest.mark.parametrize(
    'wrong, message',
    (
        (dict(format='ncnn', target='tensorrt-10'), 'are for --format onnx, not ncnn'),
        (dict(format='onnx', target='tensorrt-8.2'), 'takes opset 13'),
        (dict(format='onnx', target='tensorrt-10', dynamic=('batch',)), 'for one size'),
    ),
)
def test_targets_that_do_not_go_together(wrong, message):
    with pytest.raises(InputError, match=message):
        Options(**wrong)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(options, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r"pnnx, ncnn .*pip install 'edgenext_mm\[ncnn\]'"):
        options.check_packages(FORMATS['ncnn'].packages, FORMATS['ncnn'].extra)
    with pytest.raises(InputError, match=r'make \.venv-litert, and run'):
        options.check_packages(FORMATS['litert'].packages, FORMATS['litert'].extra)


def test_a_package_that_another_one_breaks_is_named(monkeypatch, tmp_path):
    def broken(name):
        raise AttributeError("module 'torch' has no attribute 'uint16'")

    monkeypatch.setattr(api, 'import_module', broken)
    message = r"onnx cannot be imported beside PyTorch 2\..* 'uint16'\): .*requirements-export\.txt"
    with pytest.raises(InputError, match=message):
        api.export(None, 'weights.pth', Options('onnx'), tmp_path / 'model.onnx', [])


@pytest.mark.parametrize('content', (b'', b'no model', bytes(1000)))
@pytest.mark.parametrize('name', formats('torchscript', 'exported_program', 'executorch'))
def test_broken_files_are_named(name, content, tmp_path):
    skip_if_missing(name)
    path = tmp_path / f'model{FORMATS[name].suffix}'
    with pytest.raises(InputError, match='does not exist'):
        open_session(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=f'{path} cannot be loaded .*export it again'):
        open_session(path)


def test_foreign_files_and_inputs_are_named(tmp_path):
    path = tmp_path / 'model.torchscript'
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.rand(2)), str(path))
    with pytest.raises(InputError, match='has no metadata'):
        open_session(path)
    write(path, Options('torchscript'), 'classification', model('classification'))
    with pytest.raises(InputError, match=r'cannot be run on image \(1, 4, 64, 96\)'):
        open_session(path).run({'image': np.zeros((1, 4, *SIZE), np.float32)})


@pytest.fixture
def checkpoint(tmp_path):
    def save(task):
        path = tmp_path / f'{task}.pth'
        torch.save({'state_dict': model(task).state_dict()}, path)
        return str(path)

    return save


@pytest.mark.slow
def test_a_folder_is_written_whole_or_not_at_all(tmp_path, demo_data, checkpoint):
    images = sorted(map(str, Path(demo_data).glob('val2017/*.jpg')))[:2]
    cfg = config_of('segmentation')
    out = tmp_path / 'exports' / 'model_ncnn'
    ncnn = Options('ncnn', size=SIZE)
    for _ in range(2):  # the second time it replaces the first
        report = api.export(cfg, checkpoint('segmentation'), ncnn, out, images)
        assert report.startswith('logits: off by')
        names = {'model.ncnn.param', 'model.ncnn.bin', 'edgenext_mm.json'}
        assert {path.name for path in out.iterdir()} == names
        assert [*out.parent.iterdir()] == [out]
    for name in names:
        (out / name).unlink()
    (out / 'holiday.jpg').touch()
    with pytest.raises(InputError, match='other files than exported ones'):
        api.export(cfg, checkpoint('segmentation'), ncnn, out, images)
    assert [*out.iterdir()] == [out / 'holiday.jpg']
    with pytest.raises(InputError, match='names of the format ncnn end in _ncnn'):
        api.export(cfg, checkpoint('segmentation'), ncnn, tmp_path / 'model.ncnn', images)


def test_no_limit_on_boxes_is_no_limit():
    built = model('detection')
    built.bbox_head.test_cfg.update(nms_pre=-1, max_per_img=-1)
    image = torch.rand(1, 3, *SIZE) * 255
    inside = graph('detection', built, nms=True)(image)
    outside = graph('detection', built)
    boxes, scores = (values[0].numpy() for values in outside(image))
    settings = postprocessing(outside)
    found = select(boxes, scores, settings['anchors'], (1, 1), settings)
    assert len(found[0]) == len(inside[0]) > 200


def test_what_is_chosen_in_another_way_is_refused():
    detector, segmentor = model('detection'), model('segmentation')
    detector.bbox_head.test_cfg.nms.type = 'soft_nms'
    with pytest.raises(InputError, match='soft_nms'):
        postprocessing(graph('detection', detector))
    segmentor.test_cfg['mode'] = 'slide'
    with pytest.raises(InputError, match='slide'):
        graph('segmentation', segmentor)
