# RTMDet-S of mmdet's config alone, whose bases are others: mmdet has no file for the model. Images
# are in RGB, as in pretraining, and padded for all maps to be a whole part of them.
get_config = __import__('mmengine.hub', fromlist=['get_config']).get_config
model = get_config('mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py').model
model.data_preprocessor.update(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_size_divisor=32,
)
# sync_bn of the runtime converts BatchNorm.
model.neck.norm_cfg.type = model.bbox_head.norm_cfg.type = 'BN'
model.use_syncbn = False
