"""Other backbones in configs/peers, in the experiments of EdgeNeXt."""

import pytest
import torch
from conftest import CONFIGS, ROOT, SEG_CONFIGS
from killed_runs import SIDE, last_checkpoint, small_run
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, RUNNERS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from small_examples import task_of
from torch.nn import BatchNorm2d, SyncBatchNorm

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.checkpoint.pretrained import fit
from edgenext_mm.errors import InputError
from edgenext_mm.models import TimmBackbone

FOLDER = ROOT / 'configs' / 'peers'
PEERS = sorted({*FOLDER.glob('*.py')} - {*FOLDER.glob('*_demo.py')})
OURS = {
    'detection': CONFIGS / 'ssdlite_edgenext_small_coco.py',
    'segmentation': SEG_CONFIGS / 'deeplabv3_edgenext_small_voc.py',
}
DEMOS = {
    'detection': CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
    'segmentation': SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
}
DEMO_PEERS = sorted(
    path for folder in (FOLDER, CONFIGS, SEG_CONFIGS) for path in folder.glob('*_demo.py')
)


@pytest.mark.slow
@pytest.mark.parametrize('path', PEERS, ids=lambda path: path.stem)
def test_trains_and_evaluates(path, demo_data, tmp_path):
    peer = Config.fromfile(path)
    task = task_of(peer)
    assert without_backbone(path) == without_backbone(OURS[task])

    cfg = small_run(task, demo_data, tmp_path)
    head = 'bbox_head' if task == 'detection' else 'decode_head'
    peer.model[head].num_classes = cfg.model[head].num_classes
    peer.model.backbone.pretrained = False
    if task == 'segmentation':
        peer.model.data_preprocessor.size = (SIDE, SIDE)
    cfg.model = peer.model
    cfg.train_dataloader.update(batch_size=2)
    cfg.val_dataloader.dataset.indices = 2
    if task == 'detection':
        cfg.train_dataloader.dataset.indices = 4
        cfg.train_cfg.max_epochs = 1
    else:
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.default_hooks.checkpoint.interval = 2
    cfg.experiment_name = path.stem
    runner = RUNNERS.build(cfg)
    runner.train()
    _, validations = read_scalars(tmp_path)
    assert runner.iter == 2 and len(validations) == 1
    # Several processes wait for the gradients of all parameters.
    state = runner.optim_wrapper.optimizer.state
    assert [name for name, p in runner.model.named_parameters() if not state[p]] == []
    saved = last_checkpoint(cfg)
    weights = fit(runner.model, saved, 'the checkpoint', purpose='test')
    assert weights.keys() == runner.model.state_dict().keys()
    for key, value in weights.items():
        assert value.equal(saved['state_dict'][key]), key


@pytest.mark.parametrize(
    'path', [path for path in DEMO_PEERS if path not in DEMOS.values()], ids=lambda path: path.stem
)
def test_demo_learns_from_scratch(path):
    """By the recipe of the demo, which has a test with its data."""
    cfg = Config.fromfile(path)
    task = task_of(cfg)
    assert without_backbone(path) == without_backbone(DEMOS[task])
    assert not cfg.model.backbone.get('pretrained')
    torch.manual_seed(0)
    if task == 'detection':
        box = InstanceData(bboxes=torch.tensor([[8.0, 8, 40, 40]]), labels=torch.tensor([5]))
        sample = DetDataSample(gt_instances=box, metainfo=dict(img_shape=(SIDE, SIDE)))
    else:
        cfg.model.data_preprocessor.size = (SIDE, SIDE)
        mask = PixelData(data=torch.randint(7, (1, SIDE, SIDE)))
        sample = SegDataSample(gt_sem_seg=mask, metainfo=dict(img_shape=(SIDE, SIDE)))
    images = torch.randint(256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        model.init_weights()
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    for _ in range(2):
        losses = model.train_step(dict(inputs=[*images], data_samples=[sample] * 2), optimizer)
        assert losses['loss'].isfinite()
    assert [name for name, p in model.named_parameters() if not optimizer.optimizer.state[p]] == []


def without_backbone(path):
    """Return a config without the backbone, how it wants images, and its channels."""
    cfg = Config.fromfile(path).to_dict()
    model = cfg['model']
    del model['backbone'], model['data_preprocessor']['mean'], model['data_preprocessor']['std']
    del model['neck' if 'neck' in model else 'decode_head']['in_channels']
    return cfg


def test_norms_of_several_processes_keep_their_activations():
    torch.manual_seed(0)
    backbone = TimmBackbone('mobilenetv3_small_050', out_indices=(1, 4))
    backbone.eval()
    image = torch.rand(1, 3, 64, 64)
    expected = backbone(image)
    converted = convert_sync_batchnorm(backbone, 'torch')
    kinds = {type(module) for module in converted.modules()}
    assert SyncBatchNorm in kinds and BatchNorm2d not in kinds
    converted.eval()  # as its new norms are not
    torch.testing.assert_close(converted(image), expected)


def test_pretrained_weights_come_when_training_starts(monkeypatch):
    """And not before: a model that is tested needs none."""
    loaded = []

    def fail(model, **kwargs):
        raise OSError('no network')

    def load(model, **kwargs):
        loaded.append(model)
        for parameter in model.parameters():
            parameter.data.fill_(0.5)

    place = 'timm.models._builder.load_pretrained'
    monkeypatch.setattr(place, load)
    backbone = TimmBackbone('mobilenetv3_small_050', out_indices=(4,), pretrained=True)
    assert not loaded
    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        with pytest.raises(InputError, match=r'OSError: no network.*pretrained=False'):
            backbone.init_weights()
    backbone.init_weights()
    assert all((parameter == 0.5).all() for parameter in backbone.parameters())
    assert len(loaded) == 1
