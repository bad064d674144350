"""What mmengine's loader is to do where a checkpoint does not fit."""

from typing import Any

from mmengine.model import BaseModule
from mmengine.runner.checkpoint import load_state_dict as mmengine_load_state_dict

from .pretrained import check_part, init_pretrained


class WholeModule(BaseModule):
    """A base class: of mmengine's loader, the module takes all of its weights or none.

    mmengine loads what happens to fit, logs the rest, and returns nothing: a model of the wrong
    checkpoint then predicts noise. All that reads checkpoints in OpenMMLab's libraries goes that
    way: init_detector, init_model, get_model and the inferencers. PyTorch's own
    ``load_state_dict`` stays as it is: with ``strict=False`` it returns what is missing.

    A module that has been initialised, as training does it before ``load_from``, has weights to
    keep, and PretrainedHook checks what comes in their place.

    Raises:
        InputError: when mmengine loads a state dict whose tensors are not exactly those of the
            module, or not finite.
    """

    keeps_initial_weights = True
    """Whether weights may be missing after the initialisation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_load_state_dict_post_hook(_check)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self._loaded = prefix, {k: v for k, v in state_dict.items() if k.startswith(prefix)}
        super()._load_from_state_dict(state_dict, prefix, *args)


class PretrainedModule(WholeModule):
    """A base class: what its ``init_cfg`` of type ``Pretrained`` names may be of any family."""

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, or each part as its own.

        Raises:
            InputError: if a pretrained checkpoint cannot be read, or does not hold exactly these
                weights.
        """
        if init_pretrained(self):
            self._is_init = True
        else:
            super().init_weights()


def _check(module: WholeModule, keys: Any) -> None:
    """Check the weights that have come, if they came from mmengine: its kind of keys tells."""
    prefix, state = module.__dict__.pop('_loaded', ('', {}))
    if type(keys).__module__ != mmengine_load_state_dict.__module__:
        return
    if module.keeps_initial_weights and module.is_init:
        return
    beside = [key for key in keys.unexpected_keys if not key.startswith(prefix)]
    check_part(module, state, prefix, beside)
