# COCO 2017 in its own aspect ratios: a short side of 800 pixels, a long one of 1333 at most.
_base_ = 'coco_ssd_320.py'

input_size = (1333, 800)

resize = dict(_base_.resize, scale=input_size, keep_ratio=True)
train_pipeline = [
    _base_.load_image,
    _base_.load_annotations,
    resize,
    dict(type='RandomFlip', prob=0.5),
    _base_.pack_inputs,
]
test_pipeline = [_base_.load_image, resize, _base_.load_annotations, _base_.pack_inputs]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[[resize], _base_.flips, [_base_.load_annotations], [_base_.pack_inputs]],
    ),
]

train_dataloader = dict(
    batch_size=2,
    batch_sampler=dict(type='AspectRatioBatchSampler'),  # pads less
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
