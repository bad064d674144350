# With masks.
_base_ = 'coco_800.py'

load_annotations = dict(_base_.load_annotations, with_mask=True)
train_pipeline = [_base_.load_image, load_annotations, *_base_.train_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
