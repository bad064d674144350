_base_ = 'deeplabv3_edgenext_small_voc.py'

model = dict(
    backbone=dict(
        arch='small_bn_hs',
        init_cfg=dict(checkpoint='edgenext://small_bn_hs'),
    )
)
