_base_ = '../detection/ssdlite_edgenext_xx_small_demo.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='edgenext_mm.TimmBackbone',
        model_name='mobilevit_xxs',
        out_indices=(2, 3, 4),
        num_features=0,  # as in CVNets, without the convolution before the classifier
    ),
    neck=dict(in_channels=(48, 64, 80)),
)
