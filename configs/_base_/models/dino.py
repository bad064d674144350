# DINO of mmdet's config alone, whose bases are others: mmdet has no file for the model.
get_config = __import__('mmengine.hub', fromlist=['get_config']).get_config
model = get_config('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py').model
