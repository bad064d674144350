# SSDLite at 320x320 on the last two maps of EdgeNeXt-S.
anchor_sizes = [320 * (0.1 + 0.95 * i / 6) for i in range(7)]
num_classes = 80

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='edgenext_mm.DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='edgenext_mm.EdgeNeXt', arch='small', out_indices=(2, 3)),
    neck=dict(type='edgenext_mm.SSDLiteNeck', in_channels=(160, 304)),
    bbox_head=dict(
        type='edgenext_mm.SSDLiteHead',
        num_classes=num_classes,
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            strides=[16, 32, 64, 107, 160, 320],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]],
            min_sizes=anchor_sizes[:-1],
            max_sizes=anchor_sizes[1:],
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
