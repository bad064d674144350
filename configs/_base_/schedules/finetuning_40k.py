# mmseg's 40k schedule, with Swin's warm-up and linear decay.
_base_ = 'finetuning.py'

max_iters = 40000

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=1.0, by_epoch=False, begin=1500, end=max_iters),
]

# One GPU x 16 images.
auto_scale_lr = dict(enable=False, base_batch_size=16)
