"""Networks of all tasks that are small and quick to build, and weights for them."""

import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

ARCH = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)
TASKS = {
    'detection': (
        CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
        dict(neck=dict(in_channels=(16, 24, 32))),
    ),
    'segmentation': (
        SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
        dict(decode_head=dict(in_channels=32, channels=16)),
    ),
    'classification': (
        CLS_CONFIGS / 'edgenext_xx_small_demo.py',
        dict(head=dict(in_channels=32)),
    ),
}
LAST = {
    'detection': 'bbox_head.cls_convs.0.1.bias',
    'segmentation': 'decode_head.conv_seg.bias',
    'classification': 'head.fc.bias',
}
CLASSES = {
    'detection': 'model.bbox_head.num_classes',
    'segmentation': 'model.decode_head.num_classes',
    'classification': 'model.head.num_classes',
}
CLASS_LAYERS = {
    'detection': [f'bbox_head.cls_convs.{level}.1' for level in range(5)],
    'segmentation': ['decode_head.conv_seg'],
    'classification': ['head.fc'],
}


def config_of(task):
    path, model = TASKS[task]
    cfg = Config.fromfile(path)
    cfg.model.backbone.arch = ARCH
    cfg.merge_from_dict({'model': model})
    return cfg


def network(task, **settings):
    cfg = config_of(task)
    cfg.merge_from_dict(settings)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def noise(task, **settings):
    """Return weights that no initialisation gives."""
    state = network(task, **settings).state_dict()
    return {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in state.items()}


def below(prefix, state):
    return {f'{prefix}{key}': value for key, value in state.items()}
