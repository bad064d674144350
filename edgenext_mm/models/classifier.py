"""The classifier of EdgeNeXt (arXiv 2206.10589), and its training with a teacher."""

from functools import cached_property
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import Config
from mmpretrain.apis import get_model
from mmpretrain.models import BaseClassifier, ImageClassifier, LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..checkpoint.pretrained import find_weights
from ..checkpoint.whole import PretrainedModule, WholeModule
from ..errors import InputError
from ..registry import MODELS
from .fold import check_folded, fold_norm


@MODELS.register_module()
class EdgeNeXtHead(WholeModule, LinearClsHead):
    """Norm, global average pooling and a linear layer.

    Args:
        num_classes: number of classes.
        in_channels: channels of the backbone's last map.
        bn_hs: whether the backbone is one of the ``_bn_hs`` networks. These have BatchNorm before
            the pooling, the others LayerNorm after it. Defaults to False.
        init_cfg: defaults to the reference's, truncated normal of std 0.02.
        kwargs: the other arguments of mmpretrain's heads, such as ``loss``.

    Example:
        >>> head = EdgeNeXtHead(num_classes=10, in_channels=168)
        >>> head((torch.ones(2, 168, 8, 8),)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        bn_hs: bool = False,
        init_cfg: dict | list[dict] | None = dict(type='TruncNormal', layer='Linear', std=0.02),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.norm: nn.Module = (
            nn.BatchNorm2d(in_channels) if bn_hs else nn.LayerNorm(in_channels, eps=1e-6)
        )
        self.bn_hs = bn_hs
        self.deployed = False

    def switch_to_deploy(self) -> None:
        """Fold the norm into the linear layer, in place; see :meth:`EdgeNeXt.switch_to_deploy`."""
        if not self.deployed:
            layers = [('head.norm', self.norm), ('head.fc', self.fc)]
            check_folded(layers, nn.LayerNorm, nn.BatchNorm2d, nn.SyncBatchNorm, nn.Linear)
            self.deployed = True
            self.norm = fold_norm(self.norm, self.fc)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Pool the backbone's last map to the input of the linear layer, (N, in_channels)."""
        if self.bn_hs:
            return self.norm(feats[-1]).mean(dim=(2, 3))
        return self.norm(feats[-1].mean(dim=(2, 3)))


@MODELS.register_module()
class EdgeNeXtClassifier(PretrainedModule, ImageClassifier):
    """mmpretrain's ImageClassifier with an EdgeNeXt backbone and an :class:`EdgeNeXtHead`.

    Any state dict that is loaded into it may have the names of the reference, of timm or of
    mmpretrain.

    Args:
        kwargs: the arguments of mmpretrain's ImageClassifier. ``init_cfg`` may be
            ``dict(type='Pretrained', checkpoint=...)`` with a file, a URL or a short name such as
            'edgenext://small'.

    Raises:
        InputError: if only one of backbone and head is of the ``_bn_hs`` networks.

    Example:
        >>> classifier = EdgeNeXtClassifier(
        ...     backbone=dict(type='edgenext_mm.EdgeNeXt', arch='xx_small'),
        ...     head=dict(type='edgenext_mm.EdgeNeXtHead', num_classes=10, in_channels=168),
        ... )
        >>> classifier.eval()(torch.ones(1, 3, 64, 64)).shape
        torch.Size([1, 10])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bn_hs = any(isinstance(module, _BatchNorm) for module in self.backbone.modules())
        if isinstance(self.head, EdgeNeXtHead) and self.head.bn_hs != bn_hs:
            raise InputError(
                f'model.backbone is {"" if bn_hs else "not "}one of the _bn_hs networks and '
                f'model.head.bn_hs is {self.head.bn_hs}: set model.head.bn_hs={bn_hs}, or choose '
                'another model.backbone.arch'
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Give the tensors our names; what is missing or unexpected is for PyTorch to say."""
        own = {key: state_dict.pop(key) for key in [*state_dict] if key.startswith(prefix)}
        own = {key.removeprefix(prefix): value for key, value in own.items()}
        state = find_weights(own, self.state_dict(), 'the state dict')
        state_dict.update({f'{prefix}{key}': value for key, value in state.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class DistilledEdgeNeXtClassifier(EdgeNeXtClassifier):
    """An EdgeNeXtClassifier that also learns what a teacher answers (USI, arXiv 2204.03475).

    The loss is that of the head, plus ``alpha`` times the Kullback-Leibler divergence of the
    teacher's class probabilities from its own. The teacher is no part of the state dict.

    Args:
        teacher: a name of mmpretrain's zoo (``mmpretrain.list_models()``), whose
            weights are downloaded; the path of a config that has ``load_from``; or the config of a
            model with an ``init_cfg``. It has the same classes, and is built at the first loss.
        alpha: weight of the divergence. Defaults to 5, as in USI.
        kwargs: the arguments of EdgeNeXtClassifier.
    """

    def __init__(self, teacher: str | dict, alpha: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.teacher_cfg = teacher
        self.alpha = alpha

    @cached_property  # which is no submodule: state dict and averaged weights are without a teacher
    def teacher(self) -> BaseClassifier:
        """The teacher, in evaluation mode.

        Raises:
            InputError: if the teacher cannot be had, or has another number of classes.
        """
        try:
            return self._build_teacher()
        except AttributeError as error:
            # After an AttributeError of a property, nn.Module.__getattr__ says that there is none.
            raise RuntimeError(f'model.teacher {self.teacher_cfg}: {error}') from error

    def _build_teacher(self) -> BaseClassifier:
        cfg = self.teacher_cfg
        try:
            if isinstance(cfg, str):
                if cfg.endswith('.py') and not Config.fromfile(cfg).get('load_from'):
                    raise ValueError('the config has no load_from')
                teacher = get_model(cfg, pretrained=True)
            else:
                if not cfg.get('init_cfg'):
                    raise ValueError('the model has no init_cfg')
                teacher = get_model(Config(dict(model=cfg)))
                teacher.init_weights()
        except (ValueError, OSError) as error:
            raise InputError(f'model.teacher {cfg} cannot be had: {error}') from error
        if teacher.head.num_classes != self.head.num_classes:
            raise InputError(
                f'the teacher {cfg} has {teacher.head.num_classes} classes and '
                f'model.head has {self.head.num_classes}: choose another model.teacher'
            )
        return teacher.eval().requires_grad_(False)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            inputs: images as the data preprocessor gives them, (N, C, H, W).
            data_samples: their labels or, after batch augmentation, scores.

        Returns:
            The head's losses and ``loss_distill``.

        Raises:
            InputError: if the teacher cannot be had, or has another number of classes.
        """
        scores = self.head(self.extract_feat(inputs))
        with torch.no_grad():
            answers = self.teacher.to(inputs.device)(self._as_teacher_wants(inputs))
        divergence = F.kl_div(
            scores.log_softmax(dim=1),
            answers.log_softmax(dim=1),
            reduction='batchmean',
            log_target=True,
        )
        return {
            **self.head._get_loss(scores, data_samples),
            'loss_distill': self.alpha * divergence,
        }

    def _as_teacher_wants(self, inputs: Tensor) -> Tensor:
        own, teacher = self.data_preprocessor, self.teacher.data_preprocessor
        pixels = inputs * own.std + own.mean
        if own.to_rgb != teacher.to_rgb:
            pixels = pixels.flip(1)
        return (pixels - getattr(teacher, 'mean', 0.0)) / getattr(teacher, 'std', 1.0)
