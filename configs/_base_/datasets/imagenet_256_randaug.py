# With RandAugment (timm's rand-m9-mstd0.5-inc1) in place of color jitter.
_base_ = 'imagenet_256.py'

rand_augment = dict(
    type='RandAugment',
    policies='timm_increasing',
    num_policies=2,
    total_level=10,
    magnitude_level=9,
    magnitude_std=0.5,
    hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
)
train_pipeline = [
    _base_.load_image,
    _base_.random_crop,
    dict(type='RandomFlip', prob=0.5),
    rand_augment,
    _base_.pack_inputs,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
