# The epochs and steps of mmdet's 1x schedule, with Swin's warm-up.
_base_ = 'finetuning.py'

max_epochs = 12

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        milestones=[max_epochs * 2 // 3, max_epochs * 11 // 12],
        by_epoch=True,
    ),
]

# 8 GPUs x 2 images.
auto_scale_lr = dict(enable=False, base_batch_size=16)
