_base_ = '../detection/ssdlite_edgenext_small_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilenetv2_100.ra_in1k',
        out_indices=(3, 4),
        pretrained=True,
    ),
    neck=dict(in_channels=(96, 320)),
)
