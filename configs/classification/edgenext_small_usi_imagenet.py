# USI (arXiv 2204.03475, train.py of its repository): a teacher, Mixup and CutMix, one size.
_base_ = 'edgenext_small_imagenet.py'

model = dict(
    type='edgenext_mm.DistilledEdgeNeXtClassifier',
    # USI's own is TResNet-L; any name of mmpretrain.list_models() with ImageNet's classes will do.
    teacher='convnext-base_in21k-pre_3rdparty_in1k',
    backbone=dict(drop_path_rate=0.0),
    head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', use_soft=True)),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)

train_pipeline = [
    _base_.load_image,
    dict(type='RandomResizedCrop', scale=256, interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(_base_.rand_augment, magnitude_level=7),
    _base_.pack_inputs,
]
test_pipeline = [
    _base_.load_image,
    dict(type='ResizeEdge', scale=269, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=256),
    _base_.pack_inputs,
]
train_dataloader = dict(
    batch_size=128,
    sampler=dict(_delete_=True, type='RepeatAugSampler', shuffle=True),
    batch_sampler=None,
    dataset=dict(pipeline=train_pipeline),
)
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[[test_pipeline[1]], [test_pipeline[2]], _base_.flips, [_base_.pack_inputs]],
    ),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

warmup_epochs = 5
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=0.02),
    accumulative_counts=1,
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.05,
        by_epoch=True,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=_base_.max_epochs - warmup_epochs,
        eta_min=1e-6,
        by_epoch=True,
        begin=warmup_epochs,
        end=_base_.max_epochs,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [dict(type='EMAHook', momentum=4e-5)]

# 8 GPUs x 128 images.
auto_scale_lr = dict(base_batch_size=1024)
