# DeepLabv3 on images with other bands than red, green and blue: docs/custom_data.md, "Images".
_base_ = 'deeplabv3_edgenext_small_custom.py'

# Fill in the mean and standard deviation of each band, in the order of the files: here those of
# red, green, blue and near infrared in eight bits.
mean = [123.675, 116.28, 103.53, 117.0]
std = [58.395, 57.12, 57.375, 57.0]

bands = len(mean)
model = dict(
    data_preprocessor=dict(mean=mean, std=std, bgr_to_rgb=False),
    backbone=dict(in_channels=bands, init_cfg=dict(adapt_stem=True)),
)

load_image = dict(_base_.load_image, color_type=bands)
for_colors = ('edgenext_mm.GaussianBlur', 'PhotoMetricDistortion')
train_pipeline = [
    load_image,
    *(step for step in _base_.train_pipeline[1:] if step.type not in for_colors),
]
test_pipeline = [load_image, *_base_.test_pipeline[1:]]
tta_pipeline = [load_image, *_base_.tta_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
