# PSPNet on the last map, at stride 8.
_base_ = [
    '../_base_/models/segmentor_edgenext.py',
    '../_base_/datasets/voc12_aug_512.py',
    '../_base_/schedules/finetuning_40k.py',
    '../_base_/seg_runtime.py',
]

model = dict(
    backbone=dict(out_indices=(3,), output_stride=8),
    decode_head=dict(type='PSPHead', in_channels=304, in_index=0, channels=512),
)
