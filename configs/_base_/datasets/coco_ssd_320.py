# COCO 2017 at 320x320 with SSD's augmentation.
dataset_type = 'edgenext_mm.CocoDataset'
data_root = __import__('os').environ.get('COCO_ROOT', 'data/coco/')
num_workers = min(4, __import__('os').cpu_count())  # mmengine 0.10.7 refuses import statements
input_size = (320, 320)

resize = dict(type='Resize', scale=input_size, keep_ratio=False, interpolation='bicubic')
# As a viewer shows them: docs/custom_data.md, "Images".
load_image = dict(type='LoadImageFromFile', imdecode_backend='edgenext_mm')
load_annotations = dict(type='LoadAnnotations', with_bbox=True)
pack_inputs = dict(type='PackDetInputs')

train_pipeline = [
    load_image,
    load_annotations,
    dict(type='edgenext_mm.MinIoURandomCrop'),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='edgenext_mm.PhotoMetricDistortion'),
    pack_inputs,
]
test_pipeline = [load_image, resize, load_annotations, pack_inputs]

train_dataloader = dict(
    batch_size=32,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# It takes the annotations of the dataset.
val_evaluator = dict(type='edgenext_mm.CocoMetric', metric='bbox')
test_evaluator = val_evaluator

tta_model = dict(
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=200),
)
flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
tta_pipeline = [
    load_image,
    dict(
        type='TestTimeAug',
        transforms=[[resize], flips, [load_annotations], [pack_inputs]],
    ),
]
