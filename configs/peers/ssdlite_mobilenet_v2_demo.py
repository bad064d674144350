_base_ = '../detection/ssdlite_edgenext_xx_small_demo.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilenetv2_100',
        out_indices=(2, 3, 4),
    ),
    neck=dict(in_channels=(32, 96, 320)),
)
