custom_imports = dict(
    imports=['edgenext_mm.fileio', 'edgenext_mm.loading', 'edgenext_mm.checkpoint']
)
runner_type = 'edgenext_mm.Runner'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # minutes=30 saves in the middle of long epochs as well: docs/training.md.
    checkpoint=dict(type='edgenext_mm.CheckpointHook', interval=1, minutes=None),
    pretrained=dict(type='edgenext_mm.PretrainedHook'),
    finite=dict(type='edgenext_mm.FiniteHook'),
    num_classes_check=dict(type='edgenext_mm.NumClassesCheckHook'),
    data_report=dict(type='edgenext_mm.DataReportHook'),
    small_image=dict(type='edgenext_mm.SmallImageHook'),
    run_length_check=dict(type='edgenext_mm.RunLengthCheckHook'),
    memory=dict(type='edgenext_mm.KeepMemoryHook'),
    deploy=dict(type='edgenext_mm.SwitchToDeployHook'),
    compile=dict(type='edgenext_mm.CompileHook'),
)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds that a process waits for another, longer than the 600 that workers have for a batch.
    dist_cfg=dict(backend='nccl', timeout=900),
)
log_level = 'INFO'
log_processor = dict(type='LogProcessor', window_size=50)
load_from = None
resume = False

# Plain BatchNorm in the configs; mmengine converts it when the run is distributed.
sync_bn = 'torch'
