"""Classification from end to end: the repository's tools and mmpretrain's APIs on drawn objects."""

import json

import pytest
import torch
from conftest import CLS_CONFIGS, ROOT, start_process
from mmpretrain import ImageClassificationInferencer

from edgenext_mm.checkpoint.convert import convert
from edgenext_mm.datasets.demo import make_demo_data
from edgenext_mm.engine.logs import read_scalars

DEMO = CLS_CONFIGS / 'edgenext_xx_small_demo.py'
CHANCE = 100 / 6


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('classification') / 'data'
    make_demo_data(root, train=250, val=40)
    return root


def run(tool, *arguments, cwd, data):
    process = start_process('python', ROOT / 'tools' / tool, *arguments, cwd=cwd, data_root=data)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope='module')
def trained(tmp_path_factory, data):
    """A work directory of the demo's config after two epochs."""
    work_dir = tmp_path_factory.mktemp('trained')
    options = ['max_epochs=2', 'train_cfg.max_epochs=2', 'param_scheduler.1.T_max=2']
    options += ['train_dataloader.batch_size=8', 'randomness.seed=0']
    run(
        *('train.py', DEMO, f'--work-dir={work_dir}', '--cfg-options', *options),
        cwd=work_dir,
        data=data,
    )
    return work_dir


def test_learns(trained):
    _, val = read_scalars(trained)
    assert list(val) == [1, 2] and val[2]['accuracy/top1'] > 2 * CHANCE


def test_evaluates_by_short_name(trained, data, tmp_path, monkeypatch):
    """The checkpoint under the reference's names, in a folder without network."""
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    convert(str(trained / 'epoch_2.pth'), str(tmp_path / 'edgenext_xx_small.pth'), 'reference')
    work_dir = tmp_path / 'work_dir'
    pictures = tmp_path / 'pictures'
    run(
        *('test.py', DEMO, 'edgenext://xx_small', '--work-dir', work_dir, '--show-dir', pictures),
        cwd=tmp_path,
        data=data,
    )
    (result,) = work_dir.glob('*/*.json')
    accuracy = read_scalars(trained)[1][2]['accuracy/top1']
    assert json.loads(result.read_text())['accuracy/top1'] == pytest.approx(accuracy)
    assert list(pictures.iterdir())


def test_inferencer(trained, data):
    inferencer = ImageClassificationInferencer(
        str(DEMO), str(trained / 'epoch_2.pth'), device='cpu', classes=None
    )
    lines = (data / 'imagenet/meta/train.txt').read_text().splitlines()[:200]
    paths, labels = zip(*(line.rsplit(' ', 1) for line in lines), strict=True)
    results = inferencer([f'{data}/imagenet/train/{path}' for path in paths], batch_size=50)
    hits = [r['pred_label'] == int(label) for r, label in zip(results, labels, strict=True)]
    assert 100 * sum(hits) / len(hits) > 2 * CHANCE
    assert results[0]['pred_class'] in inferencer.classes


def test_learns_from_teacher(trained, data, tmp_path):
    """USI's config, with the trained network as the teacher, through the runner."""
    config = tmp_path / 'usi.py'
    config.write_text(
        f"""
_base_ = {str(CLS_CONFIGS / 'edgenext_small_usi_imagenet.py')!r}
teacher = dict(
    type='edgenext_mm.EdgeNeXtClassifier',
    backbone=dict(type='edgenext_mm.EdgeNeXt', layer_scale_init_value=0.3, out_indices=(3,)),
    head=dict(type='edgenext_mm.EdgeNeXtHead', num_classes=6, in_channels=168),
    data_preprocessor=_base_.model.data_preprocessor,
    init_cfg=dict(type='Pretrained', checkpoint={str(trained / 'epoch_2.pth')!r}),
)
model = dict(
    teacher=dict(_delete_=True, **teacher),
    backbone=dict(arch='xx_small'),
    head=dict(num_classes=6, in_channels=168),
    data_preprocessor=dict(num_classes=6),
)
classes = ('boat', 'clock', 'kite', 'sports ball', 'stop sign', 'traffic light')
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type='edgenext_mm.CustomDataset',
        metainfo=dict(classes=classes),
        ann_file='meta/train.txt',
        indices=32,
    ),
)
val_dataloader = val_cfg = val_evaluator = None
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None))
"""
    )
    run('train.py', config, f'--work-dir={tmp_path}/work', cwd=tmp_path, data=data)
    losses = [row['loss_distill'] for row in read_scalars(tmp_path / 'work')[0].values()]
    assert len(losses) == 4 and min(losses) > 0
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)['state_dict']
    assert not any('teacher' in key for key in saved)
