"""What a run says of its data, and evaluators that follow them."""

import json
import shutil

import numpy as np
import pytest
from conftest import CONFIGS, SEG_CONFIGS, options
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from edgenext_mm.analysis.logs import read_scalars

DET = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'
SEG = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'
SHORT = {
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 4,
    'default_hooks.logger.interval': 1,
}


@pytest.fixture
def data(demo_data, tmp_path):
    """A copy of the demo data to spoil."""
    return shutil.copytree(demo_data, tmp_path / 'data')


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.slow
def test_trains_on_what_is_left_and_says_so(run_tool, data, tmp_path):
    def spoil(content):
        for annotation in content['annotations']:
            del annotation['area'], annotation['iscrowd']
        content['annotations'][0]['bbox'][2] = 0
        content['annotations'][1]['iscrowd'] = 1
        content['images'][0].pop('height')

    for split in ('train', 'val'):
        edit(data / f'annotations/instances_{split}2017.json', spoil)
    run_tool('train.py', DET, f'--work-dir={tmp_path}/work', *options(SHORT), data_root=data)
    train, val = read_scalars(tmp_path / 'work')
    assert all(np.isfinite(row['loss']) for row in train.values())
    assert val[1]['coco/bbox_mAP'] >= 0
    (log,) = (tmp_path / 'work').glob('*/*.log')
    for split in ('train', 'val'):
        lines = (tmp_path / f'work/data_report_{split}.txt').read_text().splitlines()
        assert 'annotation 1: boxes without an area' in lines[0]
        assert any('annotation 2: crowds (iscrowd 1)' in line for line in lines)
        line = next(
            line for line in log.read_text().splitlines() if f'{split}2017.json: left' in line
        )
        assert 'left out: boxes without an area (1), crowds (iscrowd 1) (1)' in line
        assert 'used: areas that are missing, or 0 (' in line


@pytest.mark.slow
def test_evaluator_follows_the_dataset_or_is_refused(run_tool, data, tmp_path):
    for split in ('train', 'val'):  # the same ids for other images

        def renumber(content):
            ids = {image['id']: key for key, image in enumerate(content['images'], 1)}
            for image in content['images']:
                image['id'] = ids[image['id']]
            for annotation in content['annotations']:
                annotation['image_id'] = ids[annotation['image_id']]

        edit(data / f'annotations/instances_{split}2017.json', renumber)
    settings = {
        'val_dataloader.dataset.ann_file': 'annotations/instances_train2017.json',
        'val_dataloader.dataset.data_prefix.img': 'train2017/',
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
    }
    command = ('train.py', DET, f'--work-dir={tmp_path}/work')
    run_tool(*command, *options(settings), data_root=data)
    other = f'{data}/annotations/instances_val2017.json'
    for kind in ('edgenext_mm.CocoMetric', 'mmdet.CocoMetric'):
        evaluator = {'val_evaluator.type': kind, 'val_evaluator.ann_file': other}
        with pytest.raises(SystemExit, match=r"error: the evaluator's file has .* as the image"):
            run_tool(*command, *options({**settings, **evaluator}), data_root=data)


def test_names_an_image_that_is_too_small(data, tmp_path):
    cfg = Config.fromfile(SEG)
    root = data / 'VOC2012'
    name = (root / 'ImageSets/Segmentation/val.txt').read_text().split()[1]
    Image.new('RGB', (2000, 20)).save(root / f'JPEGImages/{name}.jpg')
    Image.new('L', (2000, 20)).save(root / f'SegmentationClass/{name}.png')
    cfg.val_dataloader.dataset.data_root = str(root)
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.auto_scale_lr = None
    cfg.custom_hooks = []
    cfg.work_dir = str(tmp_path / 'work')
    with pytest.raises(ValueError, match=rf'{name}\.jpg reaches the network with .*at least 32'):
        Runner.from_cfg(cfg).val()
