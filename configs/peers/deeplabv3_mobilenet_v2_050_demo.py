_base_ = 'deeplabv3_mobilenet_v2_demo.py'

model = dict(backbone=dict(model_name='mobilenetv2_050'), decode_head=dict(in_channels=160))
