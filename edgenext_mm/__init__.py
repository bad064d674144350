"""EdgeNeXt for OpenMMLab. Importing the package registers all of its modules."""

from mmengine.registry import MODELS as _MMENGINE_MODELS

from . import datasets, engine, models
from .registry import MODELS
from .version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'models']

# A model without a scope in its type is also found by mmdet and mmseg, which look in mmengine's
# registry for what they do not have themselves.
for _name, _module in MODELS.module_dict.items():
    _MMENGINE_MODELS.register_module(_name, module=_module)
