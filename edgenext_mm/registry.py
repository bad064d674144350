"""Registries of the scope ``edgenext_mm``.

``type='edgenext_mm.EdgeNeXt'`` builds in any OpenMMLab library with nothing imported before:
mmengine imports this module for the scope, and the registries import their ``locations``.

Example:
    >>> import torch
    >>> from mmengine.registry import OPTIMIZERS
    >>> parameters = [torch.nn.Parameter(torch.zeros(1))]
    >>> type(OPTIMIZERS.build(dict(type='edgenext_mm.AdamW', params=parameters))).__module__
    'edgenext_mm.engine.optimizers'
"""

import mmengine.registry as mmengine_registry
from mmengine.registry import Registry


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    modules = [f'edgenext_mm.{location}' for location in locations]
    return Registry(name, parent=parent, scope='edgenext_mm', locations=modules)


MODELS = _child('model', mmengine_registry.MODELS, 'models', 'export.model')
TASK_UTILS = _child('task util', mmengine_registry.TASK_UTILS, 'models')
DATASETS = _child('dataset', mmengine_registry.DATASETS, 'datasets')
HOOKS = _child('hook', mmengine_registry.HOOKS, 'engine')
TRANSFORMS = _child('transform', mmengine_registry.TRANSFORMS, 'datasets')
METRICS = _child('metric', mmengine_registry.METRICS, 'datasets')
DATA_SAMPLERS = _child('data sampler', mmengine_registry.DATA_SAMPLERS, 'engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', mmengine_registry.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'engine'
)
OPTIMIZERS = _child('optimizer', mmengine_registry.OPTIMIZERS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', mmengine_registry.PARAM_SCHEDULERS, 'engine')
LOOPS = _child('loop', mmengine_registry.LOOPS, 'engine')
RUNNERS = _child('runner', mmengine_registry.RUNNERS, 'engine')
