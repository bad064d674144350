# DINO with four scales.
_base_ = [
    '../_base_/models/dino.py',
    '../_base_/datasets/coco_800.py',
    '../_base_/schedules/finetuning_12e.py',
    '../_base_/det_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.EdgeNeXt',
        arch='small',
        out_indices=(1, 2, 3),
        out_norm=True,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='edgenext://small_usi'),
    ),
    neck=dict(in_channels=[96, 160, 304]),
)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4), clip_grad=dict(max_norm=0.1))
