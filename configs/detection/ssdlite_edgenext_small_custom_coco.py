# SSDLite on your own images with boxes in COCO's JSON format: docs/custom_data.md.
_base_ = ['ssdlite_edgenext_small_coco.py', '../_base_/schedules/by_data.py']

# Fill in the files, the folders and the names of the classes, in the order of the JSON files.
train_images = 'data/custom/train/images/'
train_annotations = 'data/custom/train/annotations.json'
val_images = 'data/custom/val/images/'
val_annotations = 'data/custom/val/annotations.json'
classes = ('cat', 'dog')
input_size = (320, 320)  # width and height of images in the network, which the anchors follow

model = dict(
    bbox_head=dict(num_classes=len(classes)),
    train_cfg=dict(min_negatives=10),  # so that images without objects take part
)

resize = dict(_base_.resize, scale=input_size)
train_pipeline = [resize if step['type'] == 'Resize' else step for step in _base_.train_pipeline]
test_pipeline = [_base_.load_image, resize, _base_.load_annotations, _base_.pack_inputs]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[[resize], _base_.flips, [_base_.load_annotations], [_base_.pack_inputs]],
    ),
]
metainfo = dict(classes=classes)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root='',
        ann_file=train_annotations,
        data_prefix=dict(img=train_images),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root='',
        ann_file=val_annotations,
        data_prefix=dict(img=val_images),
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# On one GPU, with the learning rate scaled down to the smaller batch.
train_cfg = dict(_delete_=True, type='edgenext_mm.EpochBasedTrainLoop', epochs=50, min_iters=1000)
param_scheduler = _base_.schedule_by_data
custom_hooks = [_base_.average_by_data]
default_hooks = dict(checkpoint=dict(interval=5))
auto_scale_lr = dict(enable=True)
