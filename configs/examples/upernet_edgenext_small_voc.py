# UPerNet.
_base_ = [
    '../_base_/models/segmentor_edgenext.py',
    '../_base_/datasets/voc12_aug_512.py',
    '../_base_/schedules/finetuning_40k.py',
    '../_base_/seg_runtime.py',
]

model = dict(decode_head=dict(type='UPerHead', channels=512))
