_base_ = 'edgenext_xx_small_imagenet.py'

model = dict(backbone=dict(arch='x_small'), head=dict(in_channels=192))
