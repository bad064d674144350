# SSDLite on grey images, with one channel: docs/custom_data.md, "Images".
_base_ = 'ssdlite_edgenext_small_custom_coco.py'

# Any image, in shades of grey of eight bits. To train on all bits of 16-bit images, write 1 and
# their mean and standard deviation.
color_type = 'grayscale'
mean = [117.0]
std = [57.0]

model = dict(
    data_preprocessor=dict(mean=mean, std=std, bgr_to_rgb=False),
    backbone=dict(in_channels=1, init_cfg=dict(adapt_stem=True)),
)

load_image = dict(_base_.load_image, color_type=color_type)
train_pipeline = [
    load_image,
    *(x for x in _base_.train_pipeline[1:] if x.type != 'edgenext_mm.PhotoMetricDistortion'),
]
test_pipeline = [load_image, *_base_.test_pipeline[1:]]
tta_pipeline = [load_image, *_base_.tta_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
