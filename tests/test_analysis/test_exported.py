from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from edgenext_mm.analysis.exported import ExportedFile, shape_for
from edgenext_mm.analysis.metrics import Tested, digest, precision_of, read_tested, write_tested
from edgenext_mm.errors import InputError
from edgenext_mm.export.api import export
from edgenext_mm.export.options import Options

CONFIG = CLS_CONFIGS / 'edgenext_xx_small_demo.py'


@pytest.fixture(scope='module')
def file(tmp_path_factory, demo_data):
    """A classifier, exported for images of 64x96."""
    folder = tmp_path_factory.mktemp('exported')
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), folder / 'weights.pth')
    images = sorted(map(str, demo_data.glob('val2017/*.jpg')))[:1]
    out = folder / 'model.onnx'
    export(cfg, str(folder / 'weights.pth'), Options('onnx', size=(64, 96)), out, images)
    return out


def found(file='', sha256='', runtime='onnxruntime', value=0.5):
    return Tested(str(file), sha256, runtime, 'float32', 'c.py', 'top1', dict(top1=value))


def rows(text):
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| ')]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


@pytest.mark.slow
def test_measures_files_beside_the_peer(run_tool, file, tmp_path, capsys):
    """Each with the metric of the test that ran the same file in the same runtime."""
    write_tested(tmp_path / 'file.json', found(file, digest(file), value=0.125))
    write_tested(tmp_path / 'weights.json', found('weights.pth', runtime='PyTorch', value=0.25))
    run_tool(
        *('benchmark.py', CONFIG, '--exported', file, '--forms', 'eager'),
        *('--metrics', tmp_path / 'file.json', tmp_path / 'weights.json'),
        *('--runs', 3, '--threads', 1),
    )
    text = capsys.readouterr().out
    assert '1 x 64x96, 1 threads' in text
    table = rows(text)
    assert [(row['model'], row['runtime'], row['top1'].strip()) for row in table] == [
        ('edgenext_mm, eager', 'PyTorch', ''),
        ('timm', 'PyTorch', ''),
        ('model.onnx', 'onnxruntime', '0.125'),
        ('timm', 'onnxruntime', ''),
    ]
    ours, peer, eager = (table[i] for i in (2, 3, 1))
    assert peer['over timm, same runtime'] == eager['over timm in PyTorch'] == '1.00'
    for column, base in (('over timm, same runtime', peer), ('over timm in PyTorch', eager)):
        expected = float(ours['ms']) / float(base['ms'])
        assert float(ours[column]) == pytest.approx(expected, rel=0.1, abs=0.02)
    assert float(ours['size (MiB)']) == pytest.approx(file.stat().st_size / 2**20, abs=0.06)
    assert 'top1 of weights.pth in PyTorch, float32: 0.25' in text


def test_refuses_what_it_cannot_measure(run_tool, file, tmp_path):
    for options, message in (
        (('--shape', 64, 64), r'--shape is of the size 64x64 and .*model\.onnx of the size 64x96'),
        (('--batch-sizes', 1, 2), r'model\.onnx takes 1 image at a time: set --batch-sizes 1'),
        (('--backward',), 'exported files have no backward pass'),
        (('--metrics', tmp_path / 'no.json'), r'no\.json is not a file of tools/test\.py --json'),
    ):
        with pytest.raises(SystemExit, match=f'error: .*{message}'):
            run_tool('benchmark.py', CONFIG, '--exported', file, *options)
    with pytest.raises(SystemExit, match=r'for classification, and .*for detection'):
        run_tool('benchmark.py', CONFIGS / 'ssdlite_edgenext_xx_small_demo.py', '--exported', file)
    (tmp_path / 'broken.onnx').write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r'broken\.onnx has no metadata'):
        ExportedFile(tmp_path / 'broken.onnx', threads=1)


def description(path, size=None, batch=None, task='detection'):
    metadata = dict(task=task, input=dict(size=size, batch=batch))
    return SimpleNamespace(path=Path(path), metadata=metadata)


def test_images_that_all_files_take():
    free, fixed = description('free.onnx'), description('fixed.onnx', [320, 256], 1)
    assert shape_for([], None, [1, 16]) == shape_for([free], None, [16]) == (256, 256)
    assert shape_for([free], (64, 96), [1]) == (64, 96)
    assert shape_for([free, fixed], None, [1]) == (320, 256)
    other = description('other.onnx', task='segmentation')
    with pytest.raises(InputError, match=r'free\.onnx is for detection and other\.onnx for segm'):
        shape_for([free, other], None, [1])


@pytest.mark.parametrize(
    ('stored', 'runtime', 'asked', 'expected'),
    [
        ('float32', 'onnxruntime', None, 'float32'),
        ('int8', 'onnxruntime', None, 'int8'),
        ('float32', 'openvino', 'f32', 'float32'),
        ('float32', 'openvino', 'bf16', 'float32, bfloat16'),
        ('int8', 'openvino', 'f32', 'int8'),
    ],
)
def test_precision(stored, runtime, asked, expected):
    """Of the weights, and of what is computed if that is coarser."""
    metadata = dict(precision=stored)
    session = SimpleNamespace(metadata=metadata, runtime=runtime, precision=asked)
    assert precision_of(session) == expected


def test_openvino_chooses_by_the_processor():
    session = SimpleNamespace(metadata={}, runtime='openvino', precision=None)
    assert precision_of(session) in ('float32', 'float32, bfloat16', 'float32, float16')


def test_reads_what_it_wrote(tmp_path):
    test = found('a.onnx', 'abc')
    write_tested(tmp_path / 'a.json', test)
    assert read_tested([tmp_path / 'a.json']) == [test] and test.value == 0.5
    for text in ('', '[]', '{"file": ""}', (tmp_path / 'a.json').read_text().replace('0.5', '"a"')):
        (tmp_path / 'b.json').write_text(text)
        with pytest.raises(InputError, match=r'b\.json is not a file of tools/test\.py --json'):
            read_tested([tmp_path / 'b.json'])
    with pytest.raises(InputError, match='cannot be written'):
        write_tested(tmp_path / 'a.json' / 'b.json', test)
