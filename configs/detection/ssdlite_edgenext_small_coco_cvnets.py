# The images, activations and anchors of CVNets, for detectors that were trained there
# (docs/weights.md, "Detectors of CVNets").
_base_ = 'ssdlite_edgenext_small_coco.py'

model = dict(
    data_preprocessor=dict(
        # From 0 to 1.
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        # CVNets reads images by OpenCV in version 0.1, as BGR, and by Pillow from 0.2 on, as RGB.
        bgr_to_rgb=True,
    ),
    backbone=dict(init_cfg=None),
    neck=dict(dw_act_cfg=None),
    bbox_head=dict(act_cfg=None, anchor_generator=dict(clip=True)),
)

resize = dict(_base_.resize, backend='pillow')  # with antialiasing; in version 0.1 'cv2'
test_pipeline = [_base_.load_image, resize, *_base_.test_pipeline[2:]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
