_base_ = 'deeplabv3_edgenext_small_voc.py'

model = dict(
    backbone=dict(
        arch='small_bn_hs',
        init_cfg=dict(
            checkpoint='https://github.com/mmaaz60/EdgeNeXt/releases/download/'
            'v1.0/edgenext_small_bn_hs.pth',
        ),
    )
)
