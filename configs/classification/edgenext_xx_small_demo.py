# Learns the drawn objects of tools/make_demo_data.py from scratch, in a minute on two CPU cores.
_base_ = 'edgenext_xx_small_imagenet.py'

dataset_type = 'edgenext_mm.CustomDataset'
metainfo = dict(
    classes=('boat', 'clock', 'kite', 'sports ball', 'stop sign', 'traffic light'),
)
max_epochs = 12

model = dict(
    data_preprocessor=dict(num_classes=6),
    backbone=dict(
        # ImageNet's 300 epochs can start from the identity; this short run starts further on.
        layer_scale_init_value=0.3,
        init_cfg=dict(
            type='Kaiming',
            layer=['Conv2d', 'Linear'],
            mode='fan_in',
            nonlinearity='linear',
        ),
    ),
    head=dict(num_classes=6),
)

test_pipeline = [
    _base_.load_image,
    dict(type='Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    _base_.pack_inputs,
]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[[test_pipeline[1]], _base_.flips, [_base_.pack_inputs]],
    ),
]
train_pipeline = [
    _base_.load_image,
    dict(_base_.random_crop, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    _base_.pack_inputs,
]
train_dataloader = dict(
    batch_size=16,
    batch_sampler=dict(base_size=64, sizes=(48, 64, 80)),
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=_base_.data_root,
        data_prefix='train',
        ann_file='meta/train.txt',
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=_base_.data_root,
        data_prefix='val',
        ann_file='meta/val.txt',
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3), accumulative_counts=1, clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', T_max=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='EMAHook', momentum=0.02),
]
auto_scale_lr = dict(base_batch_size=16)
