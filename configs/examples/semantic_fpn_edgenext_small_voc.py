# Semantic FPN.
_base_ = [
    '../_base_/models/segmentor_edgenext.py',
    '../_base_/datasets/voc12_aug_512.py',
    '../_base_/schedules/finetuning_40k.py',
    '../_base_/seg_runtime.py',
]

model = dict(
    neck=dict(type='FPN', in_channels=[48, 96, 160, 304], out_channels=256, num_outs=4),
    decode_head=dict(
        type='FPNHead', in_channels=[256] * 4, feature_strides=[4, 8, 16, 32], channels=128
    ),
)
