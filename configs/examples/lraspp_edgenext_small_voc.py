# LR-ASPP on the last map at stride 16, and on those of strides 4 and 8.
_base_ = [
    '../_base_/models/segmentor_edgenext.py',
    '../_base_/datasets/voc12_aug_512.py',
    '../_base_/schedules/finetuning_40k.py',
    '../_base_/seg_runtime.py',
]

model = dict(
    backbone=dict(out_indices=(0, 1, 3), output_stride=16),
    decode_head=dict(
        type='edgenext_mm.LRASPPHead',
        in_channels=(48, 96, 304),
        in_index=(0, 1, 2),
        channels=128,
    ),
)
