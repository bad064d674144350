# The images and the resizing of CVNets, for the checkpoint that EdgeNeXt's authors trained there
# (docs/model_zoo.md, "The authors' DeepLabv3").
_base_ = 'deeplabv3_edgenext_small_voc.py'

model = dict(
    data_preprocessor=dict(
        # From 0 to 1.
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        # CVNets reads images by OpenCV in version 0.1, as BGR, and by Pillow from 0.2 on, as RGB.
        bgr_to_rgb=True,
    ),
    backbone=dict(init_cfg=None),
    decode_head=dict(align_corners=True),
)
