_base_ = 'deeplabv3_edgenext_small_voc.py'

model = dict(
    backbone=dict(
        arch='x_small',
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='edgenext://x_small'),
    ),
    decode_head=dict(in_channels=192),
)
