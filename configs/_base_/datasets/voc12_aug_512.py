# VOC 2012 train_aug: 10,582 training images, all with the masks of SBD
# (tools/dataset_converters/sbd_to_voc.py).
_base_ = 'voc12_512.py'

train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(seg_map_path='SegmentationClassAug'),
        ann_file='ImageSets/Segmentation/trainaug.txt',
    )
)
