_base_ = 'ssdlite_edgenext_small_coco.py'

model = dict(
    backbone=dict(
        arch='xx_small',
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='edgenext://xx_small'),
    ),
    neck=dict(in_channels=(88, 168)),
)
