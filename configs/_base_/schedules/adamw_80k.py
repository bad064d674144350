# CVNets' recipe for DeepLabv3 MobileViT on VOC, which the paper follows: 50 epochs in batches of 64
# of the 10,582 images of train_aug and of about 92,500 of COCO (torchvision's count of those with
# VOC's classes).
max_iters = 80000

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='edgenext_mm.AdamW', lr=9e-4, weight_decay=0.01),
    # The head, which has no pretrained weights, learns faster (the recipe's lr_multiplier).
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=1e-6, by_epoch=False),
]
custom_hooks = [dict(type='EMAHook', momentum=5e-4)]

# 4 GPUs x 16 images.
auto_scale_lr = dict(enable=False, base_batch_size=64)
