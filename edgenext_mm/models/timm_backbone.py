"""Networks of timm as backbones, for comparisons under the same heads."""

from collections.abc import Sequence
from typing import Any

import torch.nn as nn
from mmpretrain.models import TIMMBackbone

from ..errors import InputError
from ..registry import MODELS


@MODELS.register_module()
class TimmBackbone(TIMMBackbone):
    """mmpretrain's TIMMBackbone, for runs in several processes and machines without network.

    A timm norm includes the activation that follows. mmengine's ``sync_bn`` turns it into a
    SyncBatchNorm and so drops the activation without a word: here they are two modules. And the
    pretrained weights are loaded when training starts, as those of other backbones are, not
    whenever the model is built: a test and an export need none.

    Args:
        model_name: of timm, such as ``mobilenetv2_100.ra_in1k``.
        out_indices: which of timm's feature maps to return, the first one at stride 2.
        pretrained: whether training starts from the weights that timm has under this name.
            Defaults to False.
        kwargs: timm's own arguments, such as ``output_stride``.

    Raises:
        InputError: when training starts, if the weights cannot be had.

    Example:
        >>> import torch
        >>> backbone = TimmBackbone('mobilenetv3_small_050', out_indices=(3, 4), output_stride=16)
        >>> [tuple(x.shape) for x in backbone(torch.rand(2, 3, 64, 64))]
        [(2, 24, 4, 4), (2, 288, 4, 4)]
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int],
        pretrained: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.update(model_name=model_name, out_indices=out_indices, features_only=True)
        super().__init__(**kwargs)
        _separate_norms(self.timm_model)
        self._settings = kwargs if pretrained else None

    def init_weights(self) -> None:
        """Load the pretrained weights, once."""
        if self._settings and not self.is_init:
            try:
                model = TIMMBackbone(pretrained=True, **self._settings).timm_model
            except Exception as error:  # of any of the libraries below: it depends on the server
                raise InputError(
                    f'the weights {self._settings["model_name"]} of timm cannot be loaded '
                    f'({type(error).__name__}: {error}): download them into the cache of Hugging '
                    'Face (HF_HOME), or train without them, --cfg-options '
                    'model.backbone.pretrained=False'
                ) from error
            _separate_norms(model)
            self.timm_model.load_state_dict(model.state_dict())
        super().init_weights()


def _separate_norms(model: nn.Module) -> None:
    """Put a norm and an activation in the place of each norm that includes one."""
    from timm.layers import BatchNormAct2d

    for parent in [*model.modules()]:
        for name, both in parent.named_children():
            if isinstance(both, BatchNormAct2d):
                norm = nn.BatchNorm2d(both.num_features, both.eps, both.momentum)
                norm.load_state_dict(both.state_dict())
                setattr(parent, name, nn.Sequential(norm, both.drop, both.act))
