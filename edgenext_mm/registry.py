"""Registries of the scope ``edgenext_mm``.

``type='edgenext_mm.EdgeNeXt'`` builds in any OpenMMLab library with nothing imported before:
mmengine imports this module for the scope, and a registry imports the module of what is asked for.
So a task needs the library of no other, and does not wait for it.

Example:
    >>> import torch
    >>> from mmengine.registry import OPTIMIZERS
    >>> parameters = [torch.nn.Parameter(torch.zeros(1))]
    >>> type(OPTIMIZERS.build(dict(type='edgenext_mm.AdamW', params=parameters))).__module__
    'edgenext_mm.engine.optimizers'
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import mmengine.registry as mmengine_registry
from mmengine.registry import Registry


def lazy_import(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that imports a module when its names are asked for.

    Args:
        package: ``__name__`` of the package.
        modules: the names that the package takes from each of its modules.

    Example:
        >>> get = lazy_import('json', {'decoder': ['JSONDecoder']})
        >>> get('JSONDecoder').__module__
        'json.decoder'
        >>> get('JSONReader')
        Traceback (most recent call last):
        AttributeError: module 'json' has no attribute 'JSONReader'
    """
    origins = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        try:
            module = import_module(f'{package}.{origins[name]}')
        except AttributeError as error:  # which would say that the package has no such name
            raise ImportError(f'{package}.{name} cannot be imported: {error}') from error
        return getattr(module, name)

    return get


class _Registry(Registry):
    """A registry that asks its locations for a name, one after the other, until one has it."""

    def get(self, key: str) -> Any:
        name = key.rpartition('.')[2]
        any(hasattr(import_module(location), name) for location in self._locations)
        return super().get(key)

    def import_from_location(self) -> None:
        """Import nothing: mmengine would import all locations for any name."""


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    modules = [f'edgenext_mm.{location}' for location in locations]
    return _Registry(name, parent=parent, scope='edgenext_mm', locations=modules)


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
