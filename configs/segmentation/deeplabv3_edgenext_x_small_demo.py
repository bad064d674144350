_base_ = 'deeplabv3_edgenext_xx_small_demo.py'

model = dict(backbone=dict(arch='x_small'), decode_head=dict(in_channels=192))
