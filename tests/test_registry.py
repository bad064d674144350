import subprocess
import sys

import pytest

IMPORT = """
import importlib
import sys
import edgenext_mm
importlib.reload(edgenext_mm)
heavy = {'torch', 'mmengine', 'numpy'} & {*sys.modules}
assert not heavy, heavy
"""
SCOPE = """
import importlib
import os
import sys
import torch
import mmdet.datasets, mmdet.models, mmpretrain.datasets, mmpretrain.models, mmseg.models
from mmengine import registry
from mmengine.dataset import DefaultSampler
from mmengine.utils import import_modules_from_strings

optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
for name, cfg in dict(
    MODELS=dict(type='EdgeNeXt', arch='xx_small'),
    DATASETS=dict(type='CocoDataset', lazy_init=True),
    TRANSFORMS=dict(type='MultiScaleRandomResizedCrop'),
    HOOKS=dict(type='KeepMemoryHook'),
    METRICS=dict(type='CocoMetric'),
    DATA_SAMPLERS=dict(
        type='MultiScaleBatchSampler', sampler=DefaultSampler(range(9), seed=0), batch_size=16
    ),
    OPTIM_WRAPPERS=dict(type='CPUAmpOptimWrapper', optimizer=optimizer),
    OPTIM_WRAPPER_CONSTRUCTORS=dict(
        type='LayerDecayOptimWrapperConstructor',
        optim_wrapper_cfg=dict(optimizer=dict(type='SGD', lr=1)),
        paramwise_cfg=dict(layer_decay_rate=0.9),
    ),
    OPTIMIZERS=dict(type='AdamW', params=[torch.zeros(1)]),
).items():
    child = os.fork()
    if not child:  # where nothing of ours is imported yet
        assert not [name for name in sys.modules if name.startswith('edgenext_mm')]
        built = getattr(registry, name).build(dict(cfg, type='edgenext_mm.' + cfg['type']))
        assert type(built).__module__.startswith('edgenext_mm.'), built
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name

names = ['edgenext_mm', 'edgenext_mm.models', 'edgenext_mm.datasets', 'edgenext_mm.engine']
for _ in range(2):  # as a config's custom_imports does
    modules = import_modules_from_strings(names)
for module in modules:
    importlib.reload(module)
"""


@pytest.mark.slow
@pytest.mark.parametrize('script', [IMPORT, SCOPE], ids=['import', 'scope'])
def test_imports(script):
    """The package imports nothing heavy, its scope imports what a config names, and both again."""
    process = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
