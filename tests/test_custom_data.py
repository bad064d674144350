"""The example configs for a user's own data, with nothing but paths and classes filled in."""

import re
import shutil

import numpy as np
import pytest
from conftest import CONFIGS, SEG_CONFIGS, text_for_another_folder

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.datasets.demo.scenes import CLASSES

COCO_ORDER = ('boat', 'traffic light', 'stop sign', 'sports ball', 'kite', 'clock')


@pytest.fixture
def fill_in(tmp_path):
    """Write a copy of a config with some of its settings replaced."""

    def write(config, **settings):
        text = text_for_another_folder(config)
        for name, value in settings.items():
            text, count = re.subn(rf'^{name} = .*$', f'{name} = {value!r}', text, flags=re.M)
            assert count == 1, name
        path = tmp_path / config.name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def check_and_train(run_tool, tmp_path):
    def run(config, *options):
        run_tool('check_dataset.py', config)
        run_tool(
            *('train.py', config, f'--work-dir={tmp_path}/work'),
            *('--cfg-options', 'model.backbone.init_cfg=None', *options),
            'default_hooks.logger.interval=1',
        )
        return read_scalars(tmp_path / 'work')

    return run


@pytest.mark.slow
def test_masks(fill_in, check_and_train, demo_data, tmp_path):
    folders = {}
    for split in ('train', 'val'):
        names = (demo_data / f'VOC2012/ImageSets/Segmentation/{split}.txt').read_text().split()
        for what, source, suffix in (
            ('images', 'JPEGImages', 'jpg'),
            ('masks', 'SegmentationClass', 'png'),
        ):
            folder = tmp_path / split / what
            folder.mkdir(parents=True)
            for name in names[:4]:
                shutil.copy(demo_data / f'VOC2012/{source}/{name}.{suffix}', folder)
            folders[f'{split}_{what}'] = str(folder)
    config = fill_in(
        SEG_CONFIGS / 'deeplabv3_edgenext_small_custom.py',
        classes=('background', *CLASSES),
        **folders,
    )
    train, val = check_and_train(
        *(config, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2'),
        *('train_dataloader.batch_size=2', 'crop_size=(128,128)'),
    )
    assert np.isfinite(train[2]['loss']) and val[2]['mIoU'] >= 0
    # The learning rate is scaled from batches of 64 to those of 2, and is in warm-up.
    assert train[1]['lr'] == pytest.approx(9e-4 * 2 / 64 * 0.1)


@pytest.mark.slow
def test_coco_boxes(fill_in, check_and_train, demo_data):
    config = fill_in(
        CONFIGS / 'ssdlite_edgenext_small_custom_coco.py',
        classes=COCO_ORDER,
        input_size=(128, 128),
        train_images=f'{demo_data}/train2017/',
        train_annotations=f'{demo_data}/annotations/instances_train2017.json',
        val_images=f'{demo_data}/val2017/',
        val_annotations=f'{demo_data}/annotations/instances_val2017.json',
    )
    train, val = check_and_train(config, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1')
    assert len(train) == 2 and np.isfinite(train[2]['loss'])
    assert 'coco/bbox_mAP' in val[1]


@pytest.mark.slow
def test_xml_boxes(fill_in, check_and_train, run_tool, demo_data, tmp_path):
    data = shutil.copytree(demo_data / 'VOC2012', tmp_path / 'VOC2012')
    config = fill_in(
        CONFIGS / 'ssdlite_edgenext_small_custom_voc.py',
        classes=CLASSES,
        data_root=f'{data}/',
    )
    size = 'input_size=(128,128)'
    schedule = 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1'
    train, val = check_and_train(config, *schedule, size)
    assert len(train) == 2 and np.isfinite(train[2]['loss'])
    assert 'coco/bbox_mAP' in val[1]
    run_tool('test.py', config, tmp_path / 'work/epoch_1.pth', '--tta', '--cfg-options', size)


def test_exchanged_corners(fill_in, run_tool, demo_data, tmp_path):
    data = shutil.copytree(demo_data / 'VOC2012', tmp_path / 'VOC2012')
    xml = data / 'Annotations/000000000005.xml'
    text = xml.read_text().replace('xmin', 'x').replace('xmax', 'xmin').replace('<x>', '<xmax>')
    xml.write_text(text.replace('</x>', '</xmax>'))
    config = fill_in(
        CONFIGS / 'ssdlite_edgenext_small_custom_voc.py', classes=CLASSES, data_root=f'{data}/'
    )
    with pytest.raises(SystemExit, match=r'000000000005\.xml .* has its corners exchanged'):
        run_tool('check_dataset.py', config)
