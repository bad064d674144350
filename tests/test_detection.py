"""Detection from end to end: the repository's tools and mmdet's APIs on drawn scenes."""

import hashlib
import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from conftest import CONFIGS, ROOT, SEG_CONFIGS, run_here
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from edgenext_mm.analysis.logs import read_scalars

DEMO = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'
README = ROOT / 'README.md'
EPOCHS = 40
TINY = f"""
_base_ = {str(DEMO)!r}
arch = dict(_delete_=True, depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)
model = dict(backbone=dict(arch=arch), neck=dict(in_channels=(16, 24, 32)))
"""


def schedule(epochs):
    return f'train_cfg.max_epochs={epochs}', f'param_scheduler.1.T_max={epochs}'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, demo_data):
    """A work directory of the demo's config, trained on the 8 images that it is validated on."""
    work_dir = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        run_here(
            *(patch, 'train.py', DEMO, f'--work-dir={work_dir}', '--cfg-options'),
            *schedule(EPOCHS),
            'input_size=(128,128)',
            'param_scheduler.0.end=20',
            'custom_hooks.0.momentum=0.1',
            'train_dataloader.batch_size=4',
            'train_dataloader.dataset.ann_file=annotations/instances_val2017.json',
            'train_dataloader.dataset.data_prefix.img=val2017/',
            'randomness.seed=0',
            f'train_cfg.val_interval={EPOCHS}',
            f'default_hooks.checkpoint.interval={EPOCHS}',
            *(f'{part}_dataloader.num_workers=0' for part in ('train', 'val')),
            *(f'{part}_dataloader.persistent_workers=False' for part in ('train', 'val')),
            cwd=work_dir,
            data_root=demo_data,
        )
    return work_dir


@pytest.fixture(scope='module')
def config(trained):
    """The demo's, for images of the size that the network was trained on."""
    return trained / DEMO.name


@pytest.fixture(scope='module')
def checkpoint(trained):
    return trained / f'epoch_{EPOCHS}.pth'


@pytest.mark.slow
def test_learns(trained):
    train, val = read_scalars(trained)
    assert list(val) == [EPOCHS] and val[EPOCHS]['coco/bbox_mAP_50'] > 0.5, train
    assert not list(trained.rglob('*.partial'))


@pytest.mark.slow
def test_saves_averaged_weights(checkpoint):
    state = torch.load(checkpoint, map_location='cpu', weights_only=False)
    weights, average = state['state_dict'], state['ema_state_dict']
    assert average['steps'] == EPOCHS * 2
    differing = [k for k, v in weights.items() if not torch.equal(v, average[f'module.{k}'])]
    assert len(differing) > 100


@pytest.mark.slow
def test_evaluates_what_training_saved(run_tool, trained, config, checkpoint, tmp_path):
    command = ('test.py', config, checkpoint)
    run_tool(
        *(*command, '--out', tmp_path / 'out.pkl'),
        *('--show-dir', 'pictures', f'--work-dir={tmp_path}'),
    )
    (result,) = tmp_path.glob('*/*.json')
    trained_map = read_scalars(trained)[1][EPOCHS]['coco/bbox_mAP_50']
    assert json.loads(result.read_text())['coco/bbox_mAP_50'] == pytest.approx(trained_map)
    with open(tmp_path / 'out.pkl', 'rb') as file:
        predictions = pickle.load(file)
    assert len(predictions) == 8 and predictions[0]['pred_instances']['bboxes'].shape[1] == 4

    pictures = list(tmp_path.glob('pictures/val2017/*.jpg'))
    assert len(pictures) == 8
    picture = cv2.imread(str(pictures[0]))
    assert picture.shape[1] >= 2 * 240

    run_tool(*command, '--tta', f'--work-dir={tmp_path}/tta')
    (result,) = tmp_path.glob('tta/*/*.json')
    assert json.loads(result.read_text())['coco/bbox_mAP_50'] > trained_map - 0.1


@pytest.mark.slow
def test_plots_curves(run_tool, trained, tmp_path):
    run_tool('analysis/plot_run.py', trained, '--out', tmp_path / 'curves.png')
    curves = cv2.imread(str(tmp_path / 'curves.png'))
    assert curves is not None and curves.std() > 5


@pytest.mark.slow
def test_mmdet_apis(config, checkpoint, demo_data, tmp_path):
    images = sorted((demo_data / 'val2017').iterdir())[:4]
    inferencer = DetInferencer(str(config), str(checkpoint), device='cpu', show_progress=False)
    results = inferencer([str(path) for path in images], out_dir=str(tmp_path))['predictions']
    for path, result in zip(images, results, strict=True):
        drawn = cv2.imread(str(tmp_path / 'vis' / path.name))
        assert (drawn.astype(int) - cv2.imread(str(path))).any()
        assert max(result['scores']) > 0.3

    model = init_detector(str(config), str(checkpoint), device='cpu')
    for source in (str(images[0]), cv2.imread(str(images[0]))):
        found = inference_detector(model, source).pred_instances
        np.testing.assert_allclose(found.scores[:5], results[0]['scores'][:5], atol=0.05)


@pytest.mark.slow
def test_resumes(run_tool, tmp_path):
    """From the last checkpoint of the work directory, and without one from the beginning."""
    config = tmp_path / 'tiny.py'
    config.write_text(TINY)
    options = ('--cfg-options', 'input_size=(64,64)', 'default_hooks.logger.interval=1')
    for epochs in (1, 2):
        command = ('train.py', config, f'--work-dir={tmp_path}/work', '--resume')
        run_tool(*command, *options, *schedule(epochs), 'train_cfg.val_interval=3')
    first, second = (log.read_text() for log in sorted((tmp_path / 'work').glob('*/*.log')))
    assert 'starts from the beginning' in first and 'resumed epoch: 1, iter: 4' in second
    assert list(read_scalars(tmp_path / 'work')[0]) == list(range(1, 9))


@pytest.mark.slow
def test_missing_pretrained_weights(run_tool, monkeypatch, tmp_path):
    """A connection that is refused at once stands for a machine without network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    url = 'http://127.0.0.1:9/edgenext_xx_small.pth'
    config = CONFIGS / 'ssdlite_edgenext_xx_small_coco.py'
    with pytest.raises(SystemExit) as stop:
        run_tool('train.py', config, '--cfg-options', f'model.backbone.init_cfg.checkpoint={url}')
    text = str(stop.value)
    assert url in text and f'{tmp_path}/torch/hub/checkpoints/' in text
    assert 'EDGENEXT_CHECKPOINT_DIR' in text
    assert '--cfg-options model.backbone.init_cfg=None' in text


@pytest.mark.slow
def test_detectors_backbone_in_a_segmentor(run_tool, config, checkpoint, tmp_path):
    """From the checkpoint of a training run, and from what is published of it."""
    weights = torch.load(checkpoint, map_location='cpu', weights_only=False)['state_dict']
    run_tool('publish_model.py', checkpoint, tmp_path / 'detector.pth')
    (published,) = tmp_path.glob('detector-*.pth')
    content = published.read_bytes()
    assert hashlib.sha256(content).hexdigest().startswith(published.stem.removeprefix('detector-'))
    assert len(content) < 0.4 * checkpoint.stat().st_size
    assert torch.load(published, weights_only=True).keys() == {'state_dict', 'meta'}
    for source in (checkpoint, published):
        cfg = Config.fromfile(SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py').model
        cfg.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(source))
        init_default_scope('mmseg')
        model = MODELS.build(cfg)
        model.init_weights()
        for key, value in model.backbone.state_dict().items():
            assert torch.equal(value, weights[f'backbone.{key}']), key

    detector = init_detector(str(config), str(published), device='cpu')
    assert detector.dataset_meta['classes'] == Config.fromfile(DEMO).classes


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('train.py', 'configs/nowhere.py'), 'file configs/nowhere.py does not exist'),
        (('get_complexity.py', 'configs/nowhere.py'), 'file configs/nowhere.py does not exist'),
        (('test.py', DEMO, 'nowhere.pth'), 'file nowhere.pth does not exist'),
        (('train.py', DEMO, '--resume', 'nowhere.pth'), 'file nowhere.pth does not exist'),
        (('test.py', DEMO, README, '--out', 'results.json'), 'results.json is not the name'),
        (('analysis/plot_run.py', 'nowhere'), 'nowhere has no'),
        (
            ('train.py', DEMO, '--cfg-options', 'model.backbone.arch=tiny'),
            "unknown EdgeNeXt arch 'tiny'",
        ),
        (
            ('train.py', DEMO, '--cfg-options', 'model.backbone.out_indices=[2,4]'),
            'out_indices are stages from 0 to 3',
        ),
        (
            ('train.py', DEMO, '--cfg-options', 'model.backbone.output_stride=4'),
            'output_stride is 8, 16 or 32, not 4',
        ),
    ],
)
def test_bad_command_lines(run_tool, arguments, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_tool(*arguments)


def test_prints_complexity(run_tool, capsys):
    run_tool('get_complexity.py', CONFIGS / 'ssdlite_edgenext_small_coco.py', '--shape', 320, 320)
    rows = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines()]
    assert rows[-1] == ['model', '6.293', '2.144']
