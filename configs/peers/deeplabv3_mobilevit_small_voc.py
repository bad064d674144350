_base_ = '../segmentation/deeplabv3_edgenext_small_voc.py'

model = dict(
    data_preprocessor=dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),  # from 0 to 1
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilevit_s.cvnets_in1k',
        out_indices=(4,),
        output_stride=16,
        num_features=0,  # as in CVNets, without the convolution before the classifier
        pretrained=True,
    ),
    decode_head=dict(in_channels=160),
)
