_base_ = 'ssdlite_mobilenet_v2_demo.py'

model = dict(backbone=dict(model_name='mobilenetv2_050'), neck=dict(in_channels=(16, 48, 160)))
