_base_ = '../segmentation/deeplabv3_edgenext_small_voc.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilenetv2_100.ra_in1k',
        out_indices=(4,),
        output_stride=16,
        pretrained=True,
    ),
    decode_head=dict(in_channels=320),
)
