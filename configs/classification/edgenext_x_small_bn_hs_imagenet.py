_base_ = 'edgenext_x_small_imagenet.py'

model = dict(backbone=dict(arch='x_small_bn_hs'), head=dict(bn_hs=True))
