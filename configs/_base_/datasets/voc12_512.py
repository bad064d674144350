# Pascal VOC 2012 (1,464 training images) in crops of 512x512, with CVNets' augmentation for
# DeepLabv3 MobileViT (config/segmentation/pascal_voc/deeplabv3_mobilevit.yaml).
dataset_type = 'edgenext_mm.PascalVOCDataset'
data_root = __import__('os').environ.get('VOC_ROOT', 'data/VOCdevkit/VOC2012/')
num_workers = min(4, __import__('os').cpu_count())  # mmengine 0.10.7 refuses import statements
crop_size = (512, 512)

# As a viewer shows them: docs/custom_data.md, "Images".
load_image = dict(type='LoadImageFromFile', imdecode_backend='edgenext_mm')
load_annotations = dict(type='LoadAnnotations')
pack_inputs = dict(type='PackSegInputs')

train_pipeline = [
    load_image,
    load_annotations,
    # The short side is 256 to 768 pixels, the long one 1024 at most.
    dict(type='RandomResize', scale=[(1024, 256), (1024, 768)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    # The recipe's random_gaussian_noise is a blur with a radius of up to one pixel.
    dict(type='edgenext_mm.GaussianBlur', max_radius=1, prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomRotate', prob=1.0, degree=10),
    pack_inputs,
]
test_pipeline = [
    load_image,
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    # After Resize, since predictions are compared at the size of the annotations.
    load_annotations,
    pack_inputs,
]

train_dataloader = dict(
    batch_size=16,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

tta_model = dict(type='SegTTAModel')
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
scales = [
    dict(type='Resize', scale=(int(2048 * ratio), int(512 * ratio)), keep_ratio=True)
    for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
]
tta_pipeline = [
    load_image,
    dict(type='TestTimeAug', transforms=[scales, flips, [load_annotations], [pack_inputs]]),
]
