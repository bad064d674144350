import numpy as np
import pytest
import torch
from conftest import data_roots
from small_networks import CLASS_LAYERS, TASKS, config_of, network

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from edgenext_mm.errors import InputError  # noqa: E402
from edgenext_mm.export import accuracy  # noqa: E402
from edgenext_mm.export.api import Exported, export, training_images  # noqa: E402
from edgenext_mm.export.formats.onnx import write  # noqa: E402
from edgenext_mm.export.options import Options  # noqa: E402
from edgenext_mm.export.quantize import module_name, quantize_onnx, quantize_openvino  # noqa: E402
from edgenext_mm.runtime.sessions import Session, openvino_core  # noqa: E402

# What is predicted from directly, which for a detector are boxes as well.
LAST = CLASS_LAYERS | {
    'detection': [f'bbox_head.{kind}_convs.{i}.1' for kind in ('cls', 'reg') for i in range(5)]
}


@pytest.fixture
def model(demo_data, monkeypatch, tmp_path):
    """Return a function that gives config and checkpoint of a small network for a task."""
    for variable, value in data_roots(demo_data).items():
        monkeypatch.setenv(variable, value)

    def make(task):
        torch.manual_seed(0)
        checkpoint = tmp_path / f'{task}.pth'
        torch.save(dict(state_dict=network(task).state_dict()), checkpoint)
        return config_of(task), str(checkpoint)

    return make


def layers(file):
    """Return the layers of a file, and those of them whose weights are of eight bits."""
    graph = file.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    source = {name: node for node in graph.node for name in node.output}
    found = {}
    for node in graph.node:
        if node.op_type in ('Conv', 'Gemm', 'MatMul'):
            weight = node.input[1]
            if weight in source and source[weight].op_type == 'DequantizeLinear':
                weight = source[weight].input[0]
            if weight in types:
                found[module_name(node.name)] = types[weight] == onnx.TensorProto.INT8
    return set(found), {name for name, quantized in found.items() if quantized}


def written(model, task, tmp_path, **settings):
    """Return a file of eight bits, what it and the network in PyTorch answer, and what is said."""
    cfg, checkpoint = model(task)
    raw = task != 'classification'
    options = Options('onnx', (64, 64), int8=True, calibration_images=4, raw=raw, **settings)
    out, images = tmp_path / 'int8.onnx', training_images(cfg, options)
    export(cfg, checkpoint, options, out, images[:1])
    exported = Exported(cfg, checkpoint, options)
    image = exported.feed(images[0])
    reference = exported.reference(*map(torch.from_numpy, image.values()))
    return onnx.load(out), Session(out).run(image), [value.numpy() for value in reference]


def assert_near(values, reference):
    for found, expected in zip(values, reference, strict=True):
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert 0 < error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_all_layers_have_eight_bits_and_the_last_return_float32(model, task, tmp_path):
    file, found, reference = written(model, task, tmp_path)
    everything, quantized = layers(file)
    assert everything == quantized >= set(LAST[task])
    assert_near(found, reference)
    assert all(len(np.unique(values)) > 256 for values in found if values.size > 1000)
    types = {node.op_type for node in file.graph.node}
    if torch.__version__ >= '2.5':  # which has opset 20
        assert 'Gelu' in types  # as one node
        assert 'Erf' not in types


@pytest.mark.slow
def test_float_layers_are_those_that_are_named(model, tmp_path):
    cfg, checkpoint = model('segmentation')
    options = Options('onnx', (64, 64), raw=True)
    exported, path = Exported(cfg, checkpoint, options), tmp_path / 'float.onnx'
    write(exported.graph, exported.inputs, path, exported.metadata, options)
    inputs = [exported.feed(training_images(cfg, options)[0])]

    def kept(*named):
        file, names = quantize_onnx(onnx.load(path), inputs, named)
        everything, quantized = layers(file)
        assert {*names} == everything - quantized
        return everything - quantized

    named = 'backbone.stages.2', 'decode_head.conv_s*'
    stage = {'convs.0', 'convs.1', 'pwconv1', 'pwconv2', 'xca.qkv', 'xca.proj'}
    found = kept(*named)
    assert found - {f'backbone.stages.2.0.{name}' for name in stage} == {'decode_head.conv_seg'}
    assert len(found) > 3
    assert kept() == set()
    message = r'no layer \*\.norm\. Its layers: .*backbone\.stages\.0\.0\.dwconv'
    with pytest.raises(InputError, match=message):
        kept(*named, '*.norm')


@pytest.mark.slow
def test_images_of_all_sizes_have_eight_bits(model, tmp_path):
    cfg, checkpoint = model('segmentation')
    options = Options('onnx', int8=True, calibration_images=2, dynamic=('batch', 'size'))
    images = training_images(cfg, options)
    export(cfg, checkpoint, options, tmp_path / 'int8.onnx', images[:1])
    everything, quantized = layers(onnx.load(tmp_path / 'int8.onnx'))
    positions = {name for name in everything if 'pos_embd' in name}
    assert everything - quantized == positions
    assert positions


@pytest.mark.slow
def test_openvino_has_eight_bits_in_the_same_layers(model, tmp_path):
    openvino = pytest.importorskip('openvino')
    pytest.importorskip('nncf')
    cfg, checkpoint = model('detection')
    options = Options('openvino', (64, 64), raw=True)
    exported = Exported(cfg, checkpoint, options)
    path = tmp_path / 'float.onnx'
    write(exported.graph, exported.inputs, path, exported.metadata, options)
    inputs = [exported.feed(image) for image in training_images(cfg, options)[:4]]
    file, kept = quantize_openvino(openvino.Core().read_model(path), inputs)
    assert kept == []
    quantized = {
        module_name(target.get_node().get_friendly_name())
        for node in file.get_ops()
        if node.get_type_name() == 'FakeQuantize'
        for target in node.output(0).get_target_inputs()
    }
    everything = layers(onnx.load(path))[0]
    assert quantized - {''} == everything
    settings = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = openvino_core().compile_model(file, 'CPU', settings)
    found = [compiled(inputs[0])[name] for name in exported.graph.names]
    reference = exported.reference(torch.from_numpy(inputs[0]['image']))
    assert_near(found, [value.numpy() for value in reference])


@pytest.mark.slow
def test_litert_has_eight_bits_in_the_same_layers(model, tmp_path):
    pytest.importorskip('litert_torch', reason='make .venv-litert')
    cfg, checkpoint = model('detection')
    options = Options('litert', (64, 64), raw=True, int8=True, calibration_images=4)
    out, images = tmp_path / 'int8.tflite', training_images(cfg, options)
    export(cfg, checkpoint, options, out, images[:1])
    session, exported = Session(out, threads=1), Exported(cfg, checkpoint, options)
    assert {*session.metadata['float_layers']} == {*LAST['detection']}
    image = exported.feed(images[0])
    reference = exported.reference(torch.from_numpy(image['image']))
    assert_near(session.run(image), [value.numpy() for value in reference])


@pytest.fixture
def harmful(model):
    """Return config and checkpoint of a segmentor with a layer that eight bits spoil, and it."""
    cfg, checkpoint = model('segmentation')
    name = 'backbone.stages.1.0.pwconv2'
    content = torch.load(checkpoint)
    first = content['state_dict'][f'{name[:-1]}1.weight']
    second = content['state_dict'][f'{name}.weight']
    first[0] *= 1e3  # one channel so large that the steps of the others are too coarse
    second[:, 0] /= 1e6
    torch.save(content, checkpoint)
    return cfg, checkpoint, name


@pytest.mark.slow
def test_layers_that_lose_the_metric_stay_in_float32(harmful, tmp_path, monkeypatch):
    cfg, checkpoint, name = harmful
    options = Options('onnx', (64, 64), int8=True, calibration_images=4, max_drop=1.0)
    images, judged = training_images(cfg, options)[:1], []

    def judge(file, least):
        if file == checkpoint:
            return 'mIoU', 50.0
        judged.append(Session(file).metadata['float_layers'])
        return 'mIoU', 49.0 if len(judged[-1]) >= least else 48.9

    out = tmp_path / 'int8.onnx'
    report = accuracy.export_within(
        cfg, checkpoint, options, out, images, lambda file: judge(file, 1)
    )
    everything = {*layers(onnx.load(out))[0]}
    assert judged[0] == []
    assert f'in float32 for it: {name}' in report
    assert 'mIoU: 49.00 points, 50.00 in PyTorch' in report
    assert Session(out).metadata['float_layers'] == sorted(judged[-1])
    out.unlink()
    monkeypatch.setattr(accuracy, '_SHARES', (0, 1 / 2))
    with pytest.raises(InputError, match=r'more than --max-drop 1, even .*\(mIoU: 48.90'):
        accuracy.export_within(cfg, checkpoint, options, out, images, lambda file: judge(file, 1e9))
    assert [*tmp_path.glob('*.onnx')] == []
    assert len(judged[-1]) == -(-len(everything) // 2)


def test_ranges_are_of_real_images(model, tmp_path, monkeypatch):
    cfg, checkpoint = model('detection')
    options = Options('onnx', int8=True)
    assert len(training_images(cfg, options)) == 32  # all there are
    assert len(training_images(cfg, Options('onnx', int8=True, calibration_images=5))) == 5
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    with pytest.raises(InputError, match=r'nowhere(.|\n)*--int8 measures ranges'):
        export(cfg, checkpoint, options, tmp_path / 'int8.onnx', [])
    assert not [*tmp_path.glob('*.onnx')]


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(calibration_images=10), '--calibration-images is for --int8 alone'),
        (dict(max_drop=1.0), '--max-drop is for --int8 alone'),
        (dict(int8=True, max_drop=-1.0), '0 points or more, not -1'),
        (dict(int8=True, max_drop=1.0, raw=True), 'leave out --raw and --backbone'),
        (dict(int8=True, calibration_images=0), '1 or more, not 0'),
        (dict(int8=True, opset=13), '--int8 excludes --opset and --target'),
        (dict(int8=True, half=True), 'choose one precision'),
    ],
)
def test_options_that_do_not_go_together(settings, message):
    with pytest.raises(InputError, match=message):
        Options('onnx', **settings)
