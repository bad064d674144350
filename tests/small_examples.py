"""The configs of configs/examples as they are, but for their sizes and their data."""

from conftest import ROOT, data_roots
from mmengine.config import Config
from small_networks import ARCH, TASKS

EXAMPLES = sorted((ROOT / 'configs' / 'examples').glob('*.py'))
SIDE = 64
# Of EdgeNeXt-S, and of ARCH in their place.
CHANNELS = dict(zip((48, 96, 160, 304), ARCH['dims'], strict=True))
WIDTHS = ('channels', 'embed_dims', 'num_feats')
# What a small network has less of, or none. An untrained RTMDet may predict negative sizes
# everywhere: its boxes count all the same.
FEW = dict(
    min_bbox_size=-1,
    num_queries=10,
    num_layers=1,
    num_dn_queries=4,
    num_groups=4,
    nms_pre=50,
    max_per_img=10,
    score_thr=0.0,
)


def task_of(cfg):
    return dict(mmdet='detection', mmseg='segmentation', mmpretrain='classification')[
        cfg.default_scope
    ]


def small_example(path, data):
    """Return the config of an example for the demo data, with a small network on small images."""
    cfg = Config.fromfile(path)
    task = task_of(cfg)
    demo = Config.fromfile(TASKS[task][0])
    classes = demo.train_dataloader.dataset.metainfo.classes
    # In OpenMMLab's own release, DINO's decoder has 256 channels whatever the config says.
    cfg.model = _shrunk(cfg.model, len(classes), 1 if cfg.model.type == 'DINO' else 4)
    cfg.model.backbone.update(arch=ARCH, init_cfg=None)
    if task == 'segmentation':
        cfg.model.data_preprocessor.size = (SIDE, SIDE)
    if 'num_queries' in cfg.model:
        cfg.model.bbox_head.embed_dims = cfg.model.neck.out_channels
    batch_size = 32 if task == 'classification' else 2
    root = data_roots(data)
    for name in ('train_dataloader', 'val_dataloader'):
        dataset = cfg[name].dataset
        for step in dataset.pipeline:
            if step.type in ('Resize', 'RandomResizedCrop'):
                step.scale = (SIDE, SIDE)
            if step.type == 'RandomResize':
                step.scale = [(SIDE, SIDE)] * 2
            if step.type == 'ResizeEdge':
                step.scale = SIDE
            if 'crop_size' in step:
                step.crop_size = (SIDE, SIDE)
        if task != 'classification':  # for whose folders the example is
            cfg[name].dataset = dict(demo[name].dataset, pipeline=dataset.pipeline)
        names = dict(detection='COCO_ROOT', segmentation='VOC_ROOT', classification='IMAGENET_ROOT')
        cfg[name].dataset.update(data_root=root[names[task]], metainfo=dict(classes=classes))
        cfg[name].update(num_workers=0, persistent_workers=False, batch_size=batch_size)
    cfg.test_dataloader = cfg.val_dataloader
    return cfg


def _shrunk(value, classes, divisor, key=''):
    if isinstance(value, dict):
        return type(value)({k: _shrunk(v, classes, divisor, k) for k, v in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_shrunk(v, classes, divisor, key) for v in value)
    if key == 'num_classes':
        return classes
    if key in FEW:
        return FEW[key]
    if key.endswith(WIDTHS) and isinstance(value, int):
        return CHANNELS.get(value, value // divisor if value >= 128 else value)
    return value
