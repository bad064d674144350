_base_ = '../segmentation/deeplabv3_edgenext_xx_small_demo.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilevit_xxs',
        out_indices=(4,),
        output_stride=16,
        num_features=0,  # as in CVNets, without the convolution before the classifier
    ),
    decode_head=dict(in_channels=80),
)
