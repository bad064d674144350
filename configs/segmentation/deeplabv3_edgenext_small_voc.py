# Paper, table 4: 80.2 mIoU, 6.5M parameters, 8.7 GMAdds.
_base_ = [
    '../_base_/models/deeplabv3_edgenext.py',
    '../_base_/datasets/voc12_aug_coco_512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/seg_runtime.py',
]

model = dict(
    backbone=dict(
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='edgenext://small'),
    )
)
