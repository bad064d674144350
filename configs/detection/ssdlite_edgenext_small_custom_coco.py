# SSDLite on your own images with boxes in COCO's JSON format: docs/custom_data.md.
_base_ = 'ssdlite_edgenext_small_coco.py'

# Fill in the files, the folders and the names of the classes, in the order of the JSON files.
train_images = 'data/custom/train/images/'
train_annotations = 'data/custom/train/annotations.json'
val_images = 'data/custom/val/images/'
val_annotations = 'data/custom/val/annotations.json'
classes = ('cat', 'dog')

model = dict(bbox_head=dict(num_classes=len(classes)))

metainfo = dict(classes=classes)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root='',
        ann_file=train_annotations,
        data_prefix=dict(img=train_images),
        metainfo=metainfo,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root='',
        ann_file=val_annotations,
        data_prefix=dict(img=val_images),
        metainfo=metainfo,
    ),
)
test_dataloader = val_dataloader

# On one GPU, with the learning rate scaled down to the smaller batch.
max_epochs = 50
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=True)
