# ATSS of mmdet's config alone, whose bases are others: mmdet has no file for the model.
get_config = __import__('mmengine.hub', fromlist=['get_config']).get_config
model = get_config('mmdet::atss/atss_r50_fpn_1x_coco.py').model
