# SSDLite on the last two maps of EdgeNeXt-S. Its anchors follow the size of the images.
num_classes = 80

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='edgenext_mm.DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        # Sides of other images than the configs' are padded, so that all cells of maps are whole.
        pad_size_divisor=32,
    ),
    backbone=dict(type='edgenext_mm.EdgeNeXt', arch='small', out_indices=(2, 3)),
    neck=dict(type='edgenext_mm.SSDLiteNeck', in_channels=(160, 304)),
    bbox_head=dict(
        type='edgenext_mm.SSDLiteHead',
        num_classes=num_classes,
        anchor_generator=dict(
            type='edgenext_mm.SSDLiteAnchorGenerator',
            stride=16,
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]],
            sizes=[0.1 + 0.95 * i / 6 for i in range(7)],  # shares of the image's side
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
    ),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            gt_max_assign_all=False,
        ),
        smoothl1_beta=1.0,
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
    ),
    test_cfg=dict(
        nms_pre=1000,
        nms=dict(type='nms', iou_threshold=0.5),
        min_bbox_size=0,
        score_thr=0.01,
        max_per_img=200,
    ),
)
