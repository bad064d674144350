# Learns the drawn scenes of tools/make_demo_data.py from scratch in minutes on two CPU cores.
_base_ = 'ssdlite_edgenext_xx_small_coco.py'

classes = ('boat', 'traffic light', 'stop sign', 'sports ball', 'kite', 'clock')
input_size = (192, 192)
max_epochs = 32

# What SSDLite at 320x320 has, scaled; the map of stride 256 is left out, which would be 1x1.
anchor_sizes = [192 * (0.1 + 0.95 * i / 5) for i in range(6)]
model = dict(
    backbone=dict(layer_scale_init_value=0.3, init_cfg=None),
    neck=dict(out_channels=(512, 256, 256, 128, 64)),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=(512, 256, 256, 128, 64),
        anchor_generator=dict(
            strides=[16, 32, 64, 96, 192],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2]],
            min_sizes=anchor_sizes[:-1],
            max_sizes=anchor_sizes[1:],
        ),
    ),
)

resize = dict(type='Resize', scale=input_size, keep_ratio=False, interpolation='bicubic')
train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    resize,
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip'),
    ),
]
loader = dict(num_workers=2)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(metainfo=dict(classes=classes), pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=2, dataset=dict(metainfo=dict(classes=classes), pipeline=test_pipeline)
)
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=5.0))
train_cfg = dict(max_epochs=max_epochs, val_interval=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [dict(type='EMAHook', momentum=5e-3)]
