_base_ = '../segmentation/deeplabv3_edgenext_xx_small_demo.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilenetv2_100',
        out_indices=(4,),
        output_stride=16,
    ),
    decode_head=dict(in_channels=320),
)
