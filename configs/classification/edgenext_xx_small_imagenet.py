_base_ = [
    '../_base_/models/edgenext_classifier.py',
    '../_base_/datasets/imagenet_256.py',
    '../_base_/schedules/adamw_300e.py',
    '../_base_/cls_runtime.py',
]

model = dict(backbone=dict(arch='xx_small'), head=dict(in_channels=168))
