# ImageNet in sizes of 160 to 320 for training, and 256 for evaluation.
dataset_type = 'edgenext_mm.ImageNet'
data_root = __import__('os').environ.get('IMAGENET_ROOT', 'data/imagenet/')
num_workers = min(8, __import__('os').cpu_count())  # mmengine 0.10.7 refuses import statements

# As a viewer shows them: docs/custom_data.md, "Images".
load_image = dict(type='edgenext_mm.LoadImageFromFile', imdecode_backend='edgenext_mm')
random_crop = dict(type='edgenext_mm.MultiScaleRandomResizedCrop', interpolation='bicubic')
pack_inputs = dict(type='PackInputs')

train_pipeline = [
    load_image,
    random_crop,
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    pack_inputs,
]
test_pipeline = [
    load_image,
    dict(type='ResizeEdge', scale=292, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=256),
    pack_inputs,
]

train_dataloader = dict(
    batch_size=256,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    # Batches of 256 images of 256x256, or of images of another size with as many pixels in all.
    batch_sampler=dict(
        type='edgenext_mm.MultiScaleBatchSampler',
        base_size=256,
        sizes=(160, 192, 224, 256, 288, 320),
    ),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

tta_model = dict(type='AverageClsScoreTTA')
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
tta_pipeline = [
    load_image,
    dict(
        type='TestTimeAug',
        transforms=[[test_pipeline[1]], [test_pipeline[2]], flips, [pack_inputs]],
    ),
]
