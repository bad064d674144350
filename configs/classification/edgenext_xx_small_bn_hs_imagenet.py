_base_ = 'edgenext_xx_small_imagenet.py'

model = dict(backbone=dict(arch='xx_small_bn_hs'), head=dict(bn_hs=True))
