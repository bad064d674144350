# Faster R-CNN with FPN.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_800.py',
    '../_base_/schedules/finetuning_12e.py',
    '../_base_/det_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.EdgeNeXt',
        arch='small',
        out_indices=(0, 1, 2, 3),
        out_norm=True,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='edgenext://small_usi'),
    ),
    neck=dict(in_channels=[48, 96, 160, 304]),
)
