# DeepLabv3 at output stride 16 on the last map of EdgeNeXt-S.
model = dict(
    type='edgenext_mm.EncoderDecoder',
    data_preprocessor=dict(
        type='edgenext_mm.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type='edgenext_mm.EdgeNeXt', arch='small', out_indices=(3,), output_stride=16),
    decode_head=dict(
        type='edgenext_mm.DeepLabv3Head',
        in_channels=304,
        output_stride=16,
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    test_cfg=dict(mode='whole'),
)
