# EdgeNeXt-S with the classifier of the reference.
model = dict(
    type='edgenext_mm.EdgeNeXtClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='edgenext_mm.EdgeNeXt', arch='small', out_indices=(3,)),
    head=dict(
        type='edgenext_mm.EdgeNeXtHead',
        num_classes=1000,
        in_channels=304,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
