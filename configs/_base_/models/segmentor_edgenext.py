# All maps of EdgeNeXt-S with a norm each, for a head of mmseg: a config says which.
_base_ = 'deeplabv3_edgenext.py'

model = dict(
    backbone=dict(
        out_indices=(0, 1, 2, 3),
        output_stride=32,
        out_norm=True,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='edgenext://small_usi'),
    ),
    decode_head=dict(
        _delete_=True,
        in_channels=[48, 96, 160, 304],
        in_index=[0, 1, 2, 3],
        num_classes=21,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
)
