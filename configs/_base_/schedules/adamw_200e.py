# CVNets' recipe for MobileViT on COCO (config/detection/ssd_coco), which the paper follows.
max_epochs = 200

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='edgenext_mm.AdamW', lr=9e-4, weight_decay=0.01),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [dict(type='EMAHook', momentum=5e-4)]

# 4 GPUs x 32 images.
auto_scale_lr = dict(enable=False, base_batch_size=128)
