_base_ = 'deeplabv3_edgenext_small_voc.py'

model = dict(
    backbone=dict(
        arch='xx_small',
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='edgenext://xx_small'),
    ),
    decode_head=dict(in_channels=168),
)
