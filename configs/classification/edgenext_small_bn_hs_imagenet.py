_base_ = 'edgenext_small_imagenet.py'

model = dict(backbone=dict(arch='small_bn_hs'), head=dict(bn_hs=True))
