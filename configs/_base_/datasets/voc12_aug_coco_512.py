# VOC 2012 train_aug, and the images of COCO 2017 that show VOC's classes
# (tools/dataset_converters/coco_to_voc.py COCO_ROOT COCO_ROOT/voc).
_base_ = 'voc12_aug_512.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            _base_.train_dataloader.dataset,
            dict(
                type=_base_.dataset_type,
                data_root=__import__('os').environ.get('COCO_ROOT', 'data/coco/'),
                data_prefix=dict(img_path='train2017', seg_map_path='voc/train2017'),
                ann_file='voc/train2017.txt',
                pipeline=_base_.train_pipeline,
            ),
        ],
    )
)
