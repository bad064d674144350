_base_ = 'edgenext_small_imagenet.py'

# The reference trained this one with Mixup and CutMix, and does not say how strong: timm's usual
# values.
model = dict(
    backbone=dict(arch='base'),
    head=dict(in_channels=584),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
