# Learns the drawn scenes of tools/make_demo_data.py from scratch, in minutes on two CPU cores.
_base_ = [
    '../_base_/models/deeplabv3_edgenext.py',
    '../_base_/datasets/voc12_512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/seg_runtime.py',
]

dataset_type = 'edgenext_mm.BaseSegDataset'

classes = ('background', 'stop sign', 'sports ball', 'clock', 'traffic light', 'kite', 'boat')
# Those of VOC.
palette = [
    [0, 0, 0],
    [128, 0, 0],
    [0, 128, 0],
    [128, 128, 0],
    [0, 0, 128],
    [128, 0, 128],
    [0, 128, 128],
]
size = 256
max_iters = 800
metainfo = dict(classes=classes, palette=palette)

model = dict(
    data_preprocessor=dict(size=(size, size)),
    backbone=dict(
        arch='xx_small',
        # ImageNet's 300 epochs can start from the identity; this short run starts further on.
        layer_scale_init_value=0.3,
        init_cfg=dict(
            type='Kaiming',
            layer=['Conv2d', 'Linear'],
            mode='fan_in',
            nonlinearity='linear',
        ),
    ),
    decode_head=dict(in_channels=168, num_classes=len(classes)),
)

resize = dict(type='Resize', scale=(2 * size, size), keep_ratio=True)
train_pipeline = [
    _base_.load_image,
    _base_.load_annotations,
    resize,
    dict(type='RandomCrop', crop_size=(size, size)),
    dict(type='RandomFlip', prob=0.5),
    _base_.pack_inputs,
]
test_pipeline = [_base_.load_image, resize, _base_.load_annotations, _base_.pack_inputs]
scales = [dict(resize, scale=(2 * side, side)) for side in (192, 256, 320)]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[scales, _base_.flips, [_base_.load_annotations], [_base_.pack_inputs]],
    ),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(type=dataset_type, metainfo=metainfo, pipeline=train_pipeline),
)
val_dataloader = dict(
    dataset=dict(type=dataset_type, metainfo=metainfo, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

train_cfg = dict(max_iters=max_iters, val_interval=400)
optim_wrapper = dict(
    optimizer=dict(lr=3e-3, weight_decay=0.05),
    paramwise_cfg=dict(_delete_=True),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=1e-6, by_epoch=False),
]
custom_hooks = [dict(type='EMAHook', momentum=0.01)]
default_hooks = dict(checkpoint=dict(interval=400))
auto_scale_lr = dict(base_batch_size=8)
