# For data of any size: warm-up, schedule and average follow the length of the run, which follows
# the number of images. A config with another schedule takes these in its place.
schedule_by_data = [
    dict(type='edgenext_mm.WarmupLR', start_factor=0.1, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False),
]
# The average is over the last tenth of the run so far, and over 2,000 iterations at most.
average_by_data = dict(
    type='EMAHook',
    ema_type='MomentumAnnealingEMA',
    momentum=5e-4,
    gamma=10,
    update_buffers=True,
)
