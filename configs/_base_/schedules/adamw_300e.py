# The reference's recipe (main.py of its repository).
max_epochs = 300
warmup_epochs = 20

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='edgenext_mm.AdamW', lr=6e-3, weight_decay=0.05),
    # 8 GPUs x 256 images x 2 = 4096.
    accumulative_counts=2,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs - warmup_epochs,
        eta_min=1e-6,
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [
    dict(type='EMAHook', momentum=5e-4, interval=2),  # with each step of the optimizer
]

# 8 GPUs x 256 images.
auto_scale_lr = dict(enable=False, base_batch_size=2048)
