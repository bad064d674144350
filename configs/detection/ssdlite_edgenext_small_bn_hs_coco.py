_base_ = 'ssdlite_edgenext_small_coco.py'

model = dict(
    backbone=dict(
        arch='small_bn_hs',
        init_cfg=dict(checkpoint='edgenext://small_bn_hs'),
    )
)
