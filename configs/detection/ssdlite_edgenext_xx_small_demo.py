# Learns the drawn scenes of tools/make_demo_data.py from scratch, in minutes on two CPU cores.
_base_ = 'ssdlite_edgenext_xx_small_coco.py'

classes = ('boat', 'traffic light', 'stop sign', 'sports ball', 'kite', 'clock')
input_size = (256, 256)
max_epochs = 14

channels = (128, 256, 256, 128, 64)

model = dict(
    backbone=dict(
        out_indices=(1, 2, 3),
        # ImageNet's 300 epochs can start from the identity; this short run starts further on.
        layer_scale_init_value=0.3,
        init_cfg=dict(
            _delete_=True,
            type='Kaiming',
            layer=['Conv2d', 'Linear'],
            mode='fan_in',
            nonlinearity='linear',
        ),
    ),
    neck=dict(in_channels=(48, 88, 168), out_channels=channels),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=channels,
        # Finer than at 320x320, where the first map has stride 16.
        anchor_generator=dict(
            stride=8,
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2]],
            sizes=[0.06, 0.13, 0.26, 0.5, 0.75, 1.0],
        ),
    ),
)

resize = dict(_base_.resize, scale=input_size)
train_pipeline = [
    _base_.load_image,
    _base_.load_annotations,
    resize,
    dict(type='RandomFlip', prob=0.5),
    _base_.pack_inputs,
]
test_pipeline = [_base_.load_image, resize, _base_.load_annotations, _base_.pack_inputs]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[[resize], _base_.flips, [_base_.load_annotations], [_base_.pack_inputs]],
    ),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(metainfo=dict(classes=classes), pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(metainfo=dict(classes=classes), pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=3e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [dict(type='EMAHook', momentum=0.01)]
auto_scale_lr = dict(base_batch_size=8)
