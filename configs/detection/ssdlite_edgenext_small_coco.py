# Paper, table 3: 27.9 mAP, 6.2M parameters, 2.1 GMAdds.
_base_ = [
    '../_base_/models/ssdlite_edgenext.py',
    '../_base_/datasets/coco_ssd_320.py',
    '../_base_/schedules/adamw_200e.py',
    '../_base_/det_runtime.py',
]

model = dict(
    backbone=dict(
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='edgenext://small'),
    )
)
