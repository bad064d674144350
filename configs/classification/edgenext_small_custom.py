# EdgeNeXt on your own images in folders: docs/custom_data.md.
_base_ = ['edgenext_small_imagenet.py', '../_base_/schedules/by_data.py']

# Fill in the folders, which hold a folder of images for each class, and the names of these folders
# in alphabetical order.
train_images = 'data/custom/train/'
val_images = 'data/custom/val/'
classes = ('cat', 'dog')

model = dict(
    data_preprocessor=dict(num_classes=len(classes)),
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='edgenext://small_usi')),
    head=dict(num_classes=len(classes)),
)

train_pipeline = [
    _base_.load_image,
    dict(type='RandomResizedCrop', scale=256, interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    _base_.rand_augment,
    _base_.pack_inputs,
]
# As the pretrained weights are evaluated.
test_pipeline = [
    _base_.load_image,
    dict(type='ResizeEdge', scale=269, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=256),
    _base_.pack_inputs,
]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[[test_pipeline[1]], [test_pipeline[2]], _base_.flips, [_base_.pack_inputs]],
    ),
]
dataset = dict(type='edgenext_mm.CustomDataset', metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=32,
    batch_sampler=None,
    dataset=dict(dataset, _delete_=True, data_prefix=train_images, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        dataset, _delete_=True, data_prefix=val_images, test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=2e-4), accumulative_counts=1)
# On one GPU.
train_cfg = dict(_delete_=True, type='edgenext_mm.EpochBasedTrainLoop', epochs=30, min_iters=1000)
param_scheduler = _base_.schedule_by_data
custom_hooks = [_base_.average_by_data]
default_hooks = dict(checkpoint=dict(interval=5))
auto_scale_lr = dict(enable=True, base_batch_size=32)
