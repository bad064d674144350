_base_ = 'edgenext_small_usi_imagenet.py'

model = dict(backbone=dict(arch='base'), head=dict(in_channels=584))
