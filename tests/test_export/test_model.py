"""Exported files, judged by the test set and the evaluators of a config."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from conftest import data_roots
from mmengine.config import Config
from mmpretrain.structures import DataSample
from small_networks import ARCH, TASKS, network

from edgenext_mm.errors import InputError
from edgenext_mm.export.api import export
from edgenext_mm.export.model import ExportedModel
from edgenext_mm.export.options import Options
from edgenext_mm.export.verify import TOLERANCES

METRICS = {
    'detection': 'coco/bbox_mAP',
    'segmentation': 'mIoU',
    'classification': 'accuracy/top1',
}


@pytest.fixture(scope='session')
def files(tmp_path_factory, demo_data):
    """A config, a checkpoint and an exported file of a small network of each task."""
    made = {}

    def make(task):
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            path, settings = TASKS[task]
            arch = dict(_delete_=True, **ARCH)
            model = dict(settings, backbone=dict(arch=arch))
            config = folder / 'config.py'
            config.write_text(f'_base_ = {str(path)!r}\nmodel = {model!r}\n')
            torch.manual_seed(0)
            net = network(task)
            net.init_weights()
            for name, value in net.named_parameters():
                # Images differ in what is predicted for them, and classes in how often they are.
                value.data += 0.1 * torch.randn_like(value)
                if name.startswith(('head.fc', 'decode_head.conv_seg', 'bbox_head.cls')):
                    value.data *= 3
            checkpoint = folder / 'weights.pth'
            torch.save(dict(state_dict=net.state_dict()), checkpoint)
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in data_roots(demo_data).items():
                    patch.setenv(variable, value)
                cfg = Config.fromfile(config)
            images = sorted(map(str, demo_data.glob('val2017/*.jpg')))[:1]
            dynamic = ('size',) if task == 'segmentation' else ()
            options = Options('onnx', dynamic=dynamic)
            export(cfg, str(checkpoint), options, folder / 'model.onnx', images)
            made[task] = config, checkpoint, folder / 'model.onnx'
        return made[task]

    return make


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_same_metric_as_pytorch(run_tool, files, demo_data, tmp_path, task):
    config, *tested = files(task)
    found, predictions = [], []
    options = ['--cfg-options', 'test_dataloader.num_workers=0']
    for file in tested:
        run_tool(
            *('test.py', config, file, f'--work-dir={tmp_path}/{file.suffix}'),
            *('--json', tmp_path / 'out.json', '--out', tmp_path / 'out.pkl'),
            *options,
        )
        found.append(json.loads((tmp_path / 'out.json').read_text()))
        predictions.append(pickle.loads((tmp_path / 'out.pkl').read_bytes()))
        options[:0] = '--show-dir', tmp_path / 'pictures'
        if task == 'detection' and file.suffix == '.pth':
            # A network that has learned nothing finds nothing, so it is to find what it has found.
            annotations = demo_data / 'annotations/instances_val2017.json'
            truth = as_annotations(predictions[0], annotations, Config.fromfile(config).classes)
            (tmp_path / 'truth.json').write_text(json.dumps(truth))
            options.append(f'test_dataloader.dataset.ann_file={tmp_path}/truth.json')
            found[0]['metrics'][METRICS[task]] = 1
    ours, theirs = found
    assert (ours['runtime'], theirs['runtime']) == ('PyTorch', 'onnxruntime')
    metrics = [result['metrics'][METRICS[task]] for result in found]
    # Of boxes that overlap, COCO's evaluation leaves some to others.
    assert metrics[1] == pytest.approx(metrics[0], abs=0.05 if task == 'detection' else 1e-3)
    assert metrics[0] > 0
    same = {'detection': same_boxes, 'segmentation': same_masks, 'classification': same_scores}
    assert len(predictions[0]) == len(predictions[1]) > 0
    for one, other in zip(*predictions, strict=True):
        assert one['img_path'] == other['img_path']
        same[task](one, other)
    assert [*tmp_path.rglob('pictures/**/*.*')]


def test_file_that_differs_is_not_kept(files, demo_data, tmp_path, monkeypatch):
    config, checkpoint, _ = files('classification')
    for variable, value in data_roots(demo_data).items():
        monkeypatch.setenv(variable, value)
    cfg = Config.fromfile(config)
    monkeypatch.setitem(TOLERANCES, 'scores', -1.0)  # no file is so near
    (image, *_) = map(str, demo_data.glob('val2017/*.jpg'))
    kept = tmp_path / 'model.onnx'
    kept.write_bytes(b'of before')
    with pytest.raises(InputError, match=r'differs from PyTorch: scores by .* Nothing was written'):
        export(cfg, str(checkpoint), Options('onnx'), kept, [image])
    assert [*tmp_path.iterdir()] == [kept] and kept.read_bytes() == b'of before'


def as_annotations(predictions, path, classes):
    """The best boxes of all images in the place of COCO annotations."""
    content = json.loads(path.read_text())
    least = np.sort(np.concatenate([x['pred_instances']['scores'] for x in predictions]))[-40]
    ids = {category['name']: category['id'] for category in content['categories']}
    content['annotations'] = []
    for sample in predictions:
        found = sample['pred_instances']
        best = found['scores'] >= least
        for box, label in zip(found['bboxes'][best].tolist(), found['labels'][best], strict=True):
            x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=sample['img_id'],
                    category_id=ids[classes[int(label)]],
                    bbox=[x, y, width, height],
                    area=width * height,
                    iscrowd=0,
                )
            )
    return content


def same_boxes(one, other):
    one, other = one['pred_instances'], other['pred_instances']
    assert len(one['scores']) > 0
    np.testing.assert_allclose(one['scores'][:50], other['scores'][:50], atol=1e-3)


def same_masks(one, other):
    one, other = (x['pred_sem_seg']['data'].numpy() for x in (one, other))
    assert one.shape == other.shape and one.dtype == other.dtype
    assert (one == other).mean() > 0.999


def same_scores(one, other):
    np.testing.assert_allclose(one['pred_score'], other['pred_score'], atol=1e-3)
    assert one['pred_label'] == other['pred_label']


@pytest.mark.parametrize(
    ('task', 'options', 'message'),
    [
        ('segmentation', (), 'is for detection, and the config is for segmentation'),
        ('detection', ('--tta',), '--tta is not for'),
        ('detection', ('--launcher', 'pytorch'), '--launcher is not for .*one process'),
        ('detection', ('--runtime', 'litert'), 'no file for litert'),
        ('detection', ('--threads', 0), '1 thread or more, not 0'),
        ('detection', ('--precision', 'f32'), 'onnxruntime computes in the precision of the file'),
    ],
)
def test_refuses_before_the_loop(run_tool, files, task, options, message):
    config, _ = files(task)[:2]
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        run_tool('test.py', config, files('detection')[2], *options)


def test_options_of_files_alone(run_tool, files):
    config, checkpoint, _ = files('detection')
    for option, value in (('--runtime', 'openvino'), ('--threads', 1), ('--precision', 'f32')):
        with pytest.raises(SystemExit, match=f'{option} is for exported files, not for'):
            run_tool('test.py', config, checkpoint, option, value)
    with pytest.raises(SystemExit, match=r'nowhere\.onnx does not exist'):
        run_tool('test.py', config, 'nowhere.onnx')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda names: names[::-1], "'background' as its class 0, where the dataset has 'boat'"),
        (lambda names: names[:2], r'7 classes \(background, .*\) and the dataset 2 classes'),
    ],
)
def test_refuses_other_classes(run_tool, files, change, message):
    """Predictions of a class would be compared with the objects of another one."""
    config, _, file = files('segmentation')
    dataset = Config.fromfile(config).metainfo
    classes, palette = change(list(dataset['classes'])), change(list(dataset['palette']))
    settings = (f'classes={classes}', f'palette={palette}')
    with pytest.raises(SystemExit, match=f'error: .*{message}.*metainfo.classes') as stop:
        run_tool(
            *('test.py', config, file, '--cfg-options'),
            *(f'test_dataloader.dataset.metainfo.{setting}' for setting in settings),
        )
    assert str(file) in str(stop.value)


def test_samples_know_their_files(files):
    model = ExportedModel(str(files('classification')[2]))
    assert copy.deepcopy(model) is model  # as hooks do, with a runtime that cannot be copied
    with pytest.raises(InputError, match='no img_path: take a dataset of files'):
        model.test_step(dict(inputs=[], data_samples=[DataSample()]))
