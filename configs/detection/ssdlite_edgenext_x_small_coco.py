_base_ = 'ssdlite_edgenext_small_coco.py'

model = dict(
    backbone=dict(
        arch='x_small',
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='edgenext://x_small'),
    ),
    neck=dict(in_channels=(100, 192)),
)
