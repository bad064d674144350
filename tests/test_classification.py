"""Classification from end to end: the repository's tools and mmpretrain's APIs on drawn objects."""

import json
import re
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, run_here
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope
from mmpretrain import ImageClassificationInferencer
from PIL import Image
from torchvision import transforms

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.datasets import CustomDataset, ImageNet, MultiScaleRandomResizedCrop
from edgenext_mm.datasets.demo import make_demo_data
from edgenext_mm.deploy.convert import convert
from edgenext_mm.errors import InputError

DEMO = CLS_CONFIGS / 'edgenext_xx_small_demo.py'
CHANCE = 100 / 6
EPOCHS = 4


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('classification') / 'data'
    make_demo_data(root, train=120, val=20)
    return root


@pytest.fixture(scope='module')
def trained(tmp_path_factory, data):
    """A work directory of the demo's config after a few epochs."""
    work_dir = tmp_path_factory.mktemp('trained')
    options = [f'max_epochs={EPOCHS}', f'train_cfg.val_interval={EPOCHS}']
    options += ['train_dataloader.batch_size=8', 'randomness.seed=0']
    with pytest.MonkeyPatch.context() as patch:
        command = ('train.py', DEMO, f'--work-dir={work_dir}', '--cfg-options', *options)
        run_here(patch, *command, cwd=work_dir, data_root=data)
    return work_dir


@pytest.fixture(scope='module')
def weights(trained):
    """The weights alone, without what a training run adds."""
    content = torch.load(trained / f'epoch_{EPOCHS}.pth', weights_only=False)
    torch.save(content['state_dict'], trained / 'weights.pth')
    return trained / 'weights.pth'


@pytest.mark.slow
def test_learns(trained):
    _, val = read_scalars(trained)
    assert list(val) == [EPOCHS] and val[EPOCHS]['accuracy/top1'] > 2 * CHANCE


@pytest.mark.slow
def test_evaluates_by_short_name(run_tool, trained, weights, data, tmp_path, monkeypatch):
    """The checkpoint under the reference's names, in a folder without network."""
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    convert(str(weights), str(tmp_path / 'edgenext_xx_small.pth'), 'reference')
    work_dir = tmp_path / 'work_dir'
    pictures = tmp_path / 'pictures'
    run_tool(
        *('test.py', DEMO, 'edgenext://xx_small', '--work-dir', work_dir, '--show-dir', pictures),
        data_root=data,
    )
    (result,) = work_dir.glob('*/*.json')
    accuracy = read_scalars(trained)[1][EPOCHS]['accuracy/top1']
    assert json.loads(result.read_text())['accuracy/top1'] == pytest.approx(accuracy)
    drawn = (data / 'imagenet/meta/val.txt').read_text().splitlines()
    assert len(list(pictures.rglob('*.jpg'))) == len(drawn)


@pytest.mark.slow
def test_inferencer(trained, data):
    lines = (data / 'imagenet/meta/train.txt').read_text().splitlines()[:200]
    paths, labels = zip(*(line.rsplit(' ', 1) for line in lines), strict=True)
    # Other tests of this process leave other libraries' scopes behind.
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        inferencer = ImageClassificationInferencer(
            str(DEMO), str(trained / f'epoch_{EPOCHS}.pth'), device='cpu'
        )
        results = inferencer([f'{data}/imagenet/train/{path}' for path in paths], batch_size=50)
    hits = [r['pred_label'] == int(label) for r, label in zip(results, labels, strict=True)]
    assert 100 * sum(hits) / len(hits) > 2 * CHANCE
    assert results[0]['pred_class'] in inferencer.classes


@pytest.mark.slow
def test_learns_from_teacher(run_tool, weights, data, tmp_path):
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
    init_cfg=dict(type='Pretrained', checkpoint={str(weights)!r}),
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
        _delete_=True,
        type='edgenext_mm.CustomDataset',
        data_root=_base_.data_root,
        data_prefix='train',
        pipeline=_base_.train_pipeline,
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
    run_tool('train.py', config, f'--work-dir={tmp_path}/work', data_root=data)
    losses = [row['loss_distill'] for row in read_scalars(tmp_path / 'work')[0].values()]
    assert len(losses) == 4 and min(losses) > 0
    saved = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)['state_dict']
    assert not any('teacher' in key for key in saved)


@pytest.mark.slow
def test_evaluates_files_of_others(run_tool, trained, weights, data, tmp_path):
    """The averaged weights of a training checkpoint of timm, with augmented tests."""
    convert(str(weights), str(tmp_path / 'timm.pth'), 'timm')
    state = torch.load(tmp_path / 'timm.pth')
    noise = {key: torch.randn_like(value) for key, value in state.items()}
    torch.save({'state_dict': noise, 'state_dict_ema': state}, tmp_path / 'timm.pth')
    run_tool(
        *('test.py', DEMO, tmp_path / 'timm.pth', '--work-dir', tmp_path / 'work', '--tta'),
        data_root=data,
    )
    (result,) = (tmp_path / 'work').glob('*/*.json')
    accuracy = read_scalars(trained)[1][EPOCHS]['accuracy/top1']
    assert json.loads(result.read_text())['accuracy/top1'] > accuracy - 10


def test_refuses_short_names_for_other_networks(run_tool):
    config = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'
    with pytest.raises(SystemExit, match='edgenext://xx_small is a classifier'):
        run_tool('test.py', config, 'edgenext://xx_small')


@pytest.mark.slow
def test_checks_data(run_tool, data, tmp_path, capsys):
    def check(**changes):
        for name, text in changes.items():
            (tmp_path / 'imagenet/meta' / f'{name}.txt').write_text(text)
        run_tool('check_dataset.py', DEMO, '--processes', 1, data_root=tmp_path)
        return capsys.readouterr().out

    shutil.copytree(data / 'imagenet', tmp_path / 'imagenet')
    lines = (tmp_path / 'imagenet/meta/val.txt').read_text().splitlines(keepends=True)
    boats = sum(line.startswith('boat') for line in lines)
    assert f'| boat | {boats} |' in check()
    for line in ('boat/1.jpg', 'boat/1.jpg x', 'boat/1.jpg 6'):
        with pytest.raises(
            SystemExit, match=rf"val.txt has the line '{line}' \(2\), which is not a"
        ):
            check(val=f'{lines[0]}{line}\n')
    with pytest.raises(SystemExit, match=r'meta/val\.txt is empty'):
        check(val='')
    path = tmp_path / 'imagenet/val' / lines[0].rpartition(' ')[0]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SystemExit, match=re.escape(f'{path} cannot be read as an image')):
        check(val=lines[0])


def test_checks_folders(tmp_path):
    build = partial(CustomDataset, data_root=str(tmp_path), data_prefix='train', pipeline=[])
    with pytest.raises(InputError, match='train is missing or empty'):
        build()
    folder = tmp_path / 'train' / 'cat'
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match='train/cat is empty'):
        build()
    (folder / 'one.jpg').write_bytes(b'')
    assert build().metainfo['classes'] == ('cat',)
    with pytest.raises(InputError, match='has 1 folders, and there is one for each of the 1000'):
        ImageNet(data_root=str(tmp_path), split='train', pipeline=[])


def test_wants_its_sampler():
    with pytest.raises(InputError, match='needs batch_sampler='):
        MultiScaleRandomResizedCrop().transform({'sample_idx': 3})


@pytest.mark.parametrize(('config', 'short_side'), [('small', 292), ('base_usi', 269)])
def test_evaluation_crop(config, short_side):
    """As torchvision makes it, with the bicubic filter of Pillow."""
    cfg = Config.fromfile(CLS_CONFIGS / f'edgenext_{config}_imagenet.py')
    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    image = Image.fromarray(pixels).resize((500, 375), Image.BICUBIC)
    expected = transforms.Compose(
        [
            transforms.Resize(short_side, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(256),
            transforms.PILToTensor(),
        ]
    )(image)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pipeline = Compose(cfg.test_pipeline[1:])
        aug = TRANSFORMS.build(cfg.tta_pipeline[1])
    results = {'img': np.asarray(image)[..., ::-1], 'ori_shape': (375, 500)}
    assert torch.equal(pipeline(dict(results))['inputs'].flip(0), expected)
    assert torch.equal(aug(dict(results))['inputs'][0].flip(0), expected)
