"""Segmentation from end to end: the repository's tools and mmseg's APIs on drawn scenes."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from conftest import SEG_CONFIGS, options, run_here
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer, inference_model, init_model
from PIL import Image
from scipy.io import savemat

from edgenext_mm.analysis.logs import read_scalars

DEMO = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'
ITERATIONS = 150


@pytest.fixture(scope='module')
def trained(tmp_path_factory, demo_data):
    """A work directory of the demo's config, trained on the 8 images that it is validated on."""
    work_dir = tmp_path_factory.mktemp('trained')
    settings = {
        'train_dataloader.dataset.ann_file': 'ImageSets/Segmentation/val.txt',
        # Quarters of the demo's crops.
        'train_dataloader.dataset.pipeline.3.crop_size': (128, 128),
        'model.data_preprocessor.size': (128, 128),
        'train_cfg.max_iters': ITERATIONS,
        'param_scheduler.0.end': 20,
        'param_scheduler.1.T_max': ITERATIONS,
        'custom_hooks.0.momentum': 0.1,
        'train_cfg.val_interval': ITERATIONS,
        'default_hooks.checkpoint.interval': ITERATIONS,
        'randomness.seed': 0,
    }
    with pytest.MonkeyPatch.context() as patch:
        command = ('train.py', DEMO, f'--work-dir={work_dir}', *options(settings))
        run_here(patch, *command, cwd=work_dir, data_root=demo_data)
    return work_dir


@pytest.fixture(scope='module')
def checkpoint(trained):
    return trained / f'iter_{ITERATIONS}.pth'


@pytest.fixture
def images(demo_data):
    """Training images of several sizes."""
    names = (demo_data / 'VOC2012/ImageSets/Segmentation/val.txt').read_text().split()[:4]
    return [demo_data / f'VOC2012/JPEGImages/{name}.jpg' for name in names]


def mean_iou(predictions, images):
    """The mean over the classes present, from its definition."""
    hits, misses = np.zeros(7), np.zeros(7)
    for prediction, image in zip(predictions, images, strict=True):
        mask = Image.open(image.parents[1] / f'SegmentationClass/{image.stem}.png')
        labels = np.array(mask)
        assert prediction.shape == labels.shape
        prediction = np.where(labels == 255, 255, prediction)
        for i in range(7):
            hits[i] += ((prediction == i) & (labels == i)).sum()
            misses[i] += ((prediction == i) != (labels == i)).sum()
    present = hits + misses > 0
    return 100 * (hits[present] / (hits + misses)[present]).mean()


@pytest.mark.slow
def test_learns(trained):
    train, val = read_scalars(trained)
    assert list(val) == [ITERATIONS] and val[ITERATIONS]['mIoU'] > 50, train
    assert not list(trained.rglob('*.partial'))


@pytest.mark.slow
def test_evaluates_what_training_saved(run_tool, trained, checkpoint, tmp_path):
    def run(name, *arguments):
        work_dir = tmp_path / name
        run_tool('test.py', DEMO, checkpoint, f'--work-dir={work_dir}', *arguments)
        (result,) = work_dir.glob('*/*.json')
        return json.loads(result.read_text())['mIoU']

    trained_iou = read_scalars(trained)[1][ITERATIONS]['mIoU']
    assert run('plain', '--show-dir', tmp_path / 'pictures') == pytest.approx(trained_iou)
    pictures = list((tmp_path / 'pictures').rglob('*.jpg'))
    assert len(pictures) == 8
    assert all(cv2.imread(str(picture)).shape[1] >= 2 * 240 for picture in pictures)
    assert run('tta', '--tta') > trained_iou - 10


@pytest.mark.slow
def test_plots_curves(run_tool, trained, tmp_path):
    run_tool('analysis/plot_run.py', trained, '--metrics', 'mIoU', '--out', tmp_path / 'curves.png')
    assert cv2.imread(str(tmp_path / 'curves.png')).std() > 5


@pytest.mark.slow
def test_inferencer(checkpoint, images, tmp_path):
    inferencer = MMSegInferencer(str(DEMO), str(checkpoint), device='cpu')
    one = inferencer(str(images[0]))['predictions']
    assert mean_iou([one], images[:1]) > 40

    folder = tmp_path / 'images'
    folder.mkdir()
    for image in images:
        shutil.copy(image, folder)
    results = inferencer(str(folder), out_dir=str(tmp_path / 'out'), show=False)['predictions']
    by_name = dict(zip((path.name for path in folder.iterdir()), results, strict=True))
    assert mean_iou([by_name[image.name] for image in images], images) > 40
    assert len(list((tmp_path / 'out/vis').iterdir())) == len(images)
    assert len(list((tmp_path / 'out/pred').iterdir())) == len(images)

    arrays = [cv2.imread(str(image)) for image in images]
    for result, array in zip(inferencer(arrays)['predictions'], arrays, strict=True):
        assert result.shape == array.shape[:2]
    assert (inferencer(arrays[0])['predictions'] == one).mean() > 0.99


@pytest.mark.slow
def test_inference_model(checkpoint, images):
    model = init_model(str(DEMO), str(checkpoint), device='cpu')
    results = [inference_model(model, str(image)) for image in images]
    results = [result.pred_sem_seg.data[0].numpy() for result in results]
    assert len({result.shape for result in results}) > 1
    assert mean_iou(results, images) > 40
    array = cv2.imread(str(images[0]))
    for result in inference_model(model, [array, array]):
        assert (result.pred_sem_seg.data[0].numpy() == results[0]).mean() > 0.99


@pytest.mark.slow
def test_papers_config_on_converted_data(run_tool, demo_data, monkeypatch, tmp_path):
    """VOC with SBD's masks and COCO's: drawn scenes take the place of all three."""
    data = shutil.copytree(demo_data, tmp_path / 'data')
    voc, sbd = data / 'VOC2012', tmp_path / 'sbd'
    (sbd / 'dataset/cls').mkdir(parents=True)
    for mask in (voc / 'SegmentationClass').iterdir():
        segmentation = dict(Segmentation=np.array(Image.open(mask)))
        savemat(sbd / 'dataset/cls' / f'{mask.stem}.mat', dict(GTcls=segmentation))
    for split in ('train', 'val'):
        shutil.copy(voc / f'ImageSets/Segmentation/{split}.txt', sbd / 'dataset')
    run_tool('dataset_converters/sbd_to_voc.py', sbd, voc)
    run_tool('dataset_converters/coco_to_voc.py', data, data / 'voc')

    config = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_voc.py'
    monkeypatch.setenv('COCO_ROOT', str(data))
    monkeypatch.setenv('VOC_ROOT', str(voc))
    init_default_scope('mmseg')
    parts = Config.fromfile(config).train_dataloader.dataset.datasets
    sbd_part, coco_part = (DATASETS.build(part) for part in parts)
    assert len(sbd_part) == 32  # SBD's lists less VOC's val
    assert sbd_part.get_data_info(0)['seg_map_path'].startswith(f'{voc}/SegmentationClassAug/')
    boats = (data / 'voc/train2017.txt').read_text().split()
    assert 0 < len(coco_part) == len(boats) < 32
    assert coco_part.get_data_info(0)['img_path'] == f'{data}/train2017/{boats[0]}.jpg'
    assert coco_part.get_data_info(0)['seg_map_path'] == f'{data}/voc/train2017/{boats[0]}.png'

    run_tool(
        *('train.py', config, f'--work-dir={tmp_path}/work'),
        *('--cfg-options', 'model.backbone.init_cfg=None', 'train_dataloader.batch_size=2'),
        *('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1'),
        data_root=data,
    )
    train, val = read_scalars(tmp_path / 'work')
    assert list(train) == [1, 2] and list(val) == [2]
    assert all(np.isfinite(row['loss']) for row in train.values())
    state = torch.load(tmp_path / 'work/iter_2.pth', map_location='cpu', weights_only=False)
    rates = [group['lr'] for group in state['optimizer']['param_groups']]
    assert max(rates) == pytest.approx(10 * min(rates))


@pytest.mark.slow
def test_backbone_under_another_decoder(demo_data, tmp_path):
    """UPerNet on the four maps."""
    cfg = Config.fromfile(DEMO)
    channels = [24, 48, 88, 168]
    cfg.model.backbone.update(out_indices=(0, 1, 2, 3), output_stride=32, out_norm=True)
    cfg.model.decode_head = dict(
        type='UPerHead',
        in_channels=channels,
        in_index=[0, 1, 2, 3],
        channels=32,
        num_classes=7,
        norm_cfg=dict(type='BN'),
    )
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.dataset.data_root = f'{demo_data}/VOC2012'
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=10)
    cfg.default_hooks.logger.interval = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 2 and np.isfinite(losses).all()
    state = runner.optim_wrapper.optimizer.state
    for name, parameter in runner.model.backbone.named_parameters():
        assert state[parameter]['exp_avg'].any(), name


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['model.decode_head.num_classes=3'], r'model\.decode_head has num_classes=3.*7 classes'),
        (['model.decode_head.output_stride=4'], 'output_stride of DeepLabv3Head is 8 or 16, not 4'),
        (['train_dataloader.batch_size=1'], 'set train_dataloader.batch_size to 2 or more'),
        (['train_dataloader.dataset.data_root=nowhere'], 'data root nowhere is not a folder'),
    ],
)
def test_bad_settings(run_tool, words, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_tool('train.py', DEMO, '--cfg-options', *words)
