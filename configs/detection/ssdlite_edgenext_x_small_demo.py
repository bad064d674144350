_base_ = 'ssdlite_edgenext_xx_small_demo.py'

model = dict(backbone=dict(arch='x_small'), neck=dict(in_channels=(64, 100, 192)))
