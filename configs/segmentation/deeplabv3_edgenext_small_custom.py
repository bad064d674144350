# DeepLabv3 on your own images and masks: docs/custom_data.md.
_base_ = ['deeplabv3_edgenext_small_voc.py', '../_base_/schedules/by_data.py']

# Fill in the folders and the names of the classes. A mask has the name of its image with .png, and
# in each pixel the place of the class in this list, from 0, or 255 to leave the pixel out.
train_images = 'data/custom/train/images'
train_masks = 'data/custom/train/masks'
val_images = 'data/custom/val/images'
val_masks = 'data/custom/val/masks'
classes = ('background', 'cat', 'dog')

model = dict(decode_head=dict(num_classes=len(classes)))

dataset = dict(
    type='edgenext_mm.BaseSegDataset',
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        dataset,
        _delete_=True,
        data_prefix=dict(img_path=train_images, seg_map_path=train_masks),
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset,
        _delete_=True,
        data_prefix=dict(img_path=val_images, seg_map_path=val_masks),
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader

# On one GPU, with the learning rate scaled down to the smaller batch.
train_cfg = dict(_delete_=True, type='edgenext_mm.IterBasedTrainLoop', epochs=50, min_iters=1000)
param_scheduler = _base_.schedule_by_data
custom_hooks = [_base_.average_by_data]
default_hooks = dict(checkpoint=dict(interval=500))
auto_scale_lr = dict(enable=True)
