_base_ = [
    '../_base_/models/edgenext_classifier.py',
    '../_base_/datasets/imagenet_256_randaug.py',
    '../_base_/schedules/adamw_300e.py',
    '../_base_/cls_runtime.py',
]

model = dict(backbone=dict(drop_path_rate=0.1))
