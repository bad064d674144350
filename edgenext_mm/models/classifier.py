"""The classifier of EdgeNeXt (arXiv 2206.10589), and its training with a teacher."""

from functools import cached_property

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import Config
from mmpretrain.apis import get_model
from mmpretrain.models import ImageClassifier, LinearClsHead

from ..checkpoint.pretrained import fit, init_pretrained
from ..errors import InputError
from ..registry import MODELS
from .fold import fold_norm


@MODELS.register_module()
class EdgeNeXtHead(LinearClsHead):
    """Norm, global average pooling and a linear layer.

    Args:
        num_classes (int): number of classes.
        in_channels (int): channels of the backbone's last map.
        bn_hs (bool): whether the backbone is one of the ``_bn_hs`` networks. These have BatchNorm
            before the pooling, the others LayerNorm after it. Defaults to False.
        init_cfg (dict): defaults to the reference's, truncated normal of std 0.02.
        kwargs: the other arguments of mmpretrain's heads, such as ``loss``.
    """

    def __init__(
        self,
        num_classes,
        in_channels,
        bn_hs=False,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
        **kwargs,
    ):
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.norm = nn.BatchNorm2d(in_channels) if bn_hs else nn.LayerNorm(in_channels, eps=1e-6)
        self.bn_hs = bn_hs
        self.deployed = False

    def switch_to_deploy(self):
        """Fold the norm into the linear layer, in place; see :meth:`EdgeNeXt.switch_to_deploy`."""
        if not self.deployed:
            self.deployed = True
            self.norm = fold_norm(self.norm, self.fc)

    def pre_logits(self, feats):
        """Map the backbone's maps to the input of the linear layer, (N, in_channels)."""
        if self.bn_hs:
            return self.norm(feats[-1]).mean(dim=(2, 3))
        return self.norm(feats[-1].mean(dim=(2, 3)))


@MODELS.register_module()
class EdgeNeXtClassifier(ImageClassifier):
    """mmpretrain's ImageClassifier with an EdgeNeXt backbone and an :class:`EdgeNeXtHead`.

    Whatever state dict is loaded into it, by ``init_cfg``, by ``load_from`` or by hand, may be one
    of the reference, of timm or of mmpretrain. It is loaded completely or not at all.

    Args:
        kwargs: the arguments of mmpretrain's ImageClassifier. ``init_cfg`` may be
            ``dict(type='Pretrained', checkpoint=...)`` with a file, a URL or a short name such as
            'edgenext://small'.
    """

    def init_weights(self):
        """Initialise as ``init_cfg`` says, or each part as its own.

        Raises:
            InputError: if a pretrained checkpoint cannot be read, or does not hold exactly these
                weights.
        """
        if init_pretrained(self):
            self._is_init = True
        else:
            super().init_weights()

    def _load_from_state_dict(self, state_dict, prefix, *args):
        own = {key: state_dict.pop(key) for key in [*state_dict] if key.startswith(prefix)}
        own = {key.removeprefix(prefix): value for key, value in own.items()}
        state = fit(self, own, 'the state dict')
        state_dict.update({f'{prefix}{key}': value for key, value in state.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class DistilledEdgeNeXtClassifier(EdgeNeXtClassifier):
    """An EdgeNeXtClassifier that also learns what a teacher answers (USI, arXiv 2204.03475).

    The loss is that of the head, plus ``alpha`` times the Kullback-Leibler divergence of the
    teacher's class probabilities from its own. The teacher is no part of the state dict.

    Args:
        teacher (str | dict): a name of mmpretrain's zoo (``mmpretrain.list_models()``), whose
            weights are downloaded; the path of a config that has ``load_from``; or the config of a
            model with an ``init_cfg``. It has the same classes, and is built at the first loss.
        alpha (float): weight of the divergence. Defaults to 5, as in USI.
        kwargs: the arguments of EdgeNeXtClassifier.
    """

    def __init__(self, teacher, alpha=5.0, **kwargs):
        super().__init__(**kwargs)
        self.teacher_cfg = teacher
        self.alpha = alpha

    @cached_property  # which keeps it out of the modules, and averages of the weights without one
    def teacher(self):
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

    def loss(self, inputs, data_samples):
        """Compute the losses of a batch.

        Args:
            inputs (Tensor): images as the data preprocessor gives them, (N, C, H, W).
            data_samples (list[DataSample]): their labels or, after batch augmentation, scores.

        Returns:
            dict[str, Tensor]: the head's losses and ``loss_distill``.

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

    def _as_teacher_wants(self, inputs):
        own, teacher = self.data_preprocessor, self.teacher.data_preprocessor
        pixels = inputs * own.std + own.mean
        if own.to_rgb != teacher.to_rgb:
            pixels = pixels.flip(1)
        return (pixels - getattr(teacher, 'mean', 0.0)) / getattr(teacher, 'std', 1.0)
