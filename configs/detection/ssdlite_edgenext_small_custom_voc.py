# SSDLite on your own images with boxes in VOC's XML format: docs/custom_data.md.
_base_ = 'ssdlite_edgenext_small_custom_coco.py'

# Fill in the folder that holds JPEGImages and Annotations/*.xml, the two lists of names without
# suffix, one a line, and the names of the classes.
data_root = 'data/custom/'
train_list = 'ImageSets/Main/train.txt'
val_list = 'ImageSets/Main/val.txt'
classes = ('cat', 'dog')

model = dict(bbox_head=dict(num_classes=len(classes)))

dataset = dict(
    type='edgenext_mm.XMLDataset',
    data_root=data_root,
    data_prefix=dict(sub_data_root=''),
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    dataset=dict(
        dataset,
        _delete_=True,
        ann_file=train_list,
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset, _delete_=True, ann_file=val_list, test_mode=True, pipeline=_base_.test_pipeline
    ),
)
test_dataloader = val_dataloader
