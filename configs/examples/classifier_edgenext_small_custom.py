# mmpretrain's classifier, average pooling and one linear layer, on folders of your own classes.
_base_ = '../classification/edgenext_small_custom.py'

# The folder with train/ and val/, and the names of their folders in alphabetical order.
data_root = __import__('os').environ.get('IMAGENET_ROOT', 'data/imagenet/')
classes = ('cat', 'dog')

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=len(classes)),
    backbone=dict(out_norm=True),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=len(classes)),
)
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(dataset=dict(dataset, data_prefix='train'))
val_dataloader = dict(dataset=dict(dataset, data_prefix='val'))
test_dataloader = val_dataloader
optim_wrapper = dict(
    constructor='edgenext_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.9, custom_keys={'xca.temperature': dict(decay_mult=0.0)}),
)
