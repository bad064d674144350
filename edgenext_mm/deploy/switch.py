"""From the training form of a model to its inference form."""

import copy
from collections import Counter

import torch.nn as nn
from mmcv.cnn import ConvModule, fuse_conv_bn

from ..errors import InputError
from ..models.ops import is_changed

_DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout)


def switch_to_deploy(model: nn.Module, inplace: bool = True) -> nn.Module:
    """Give a detector, segmentor, classifier or backbone its inference form.

    Calls ``switch_to_deploy`` of each module that has it, as EdgeNeXt and some networks of
    OpenMMLab do, folds BatchNorm into the convolution before it in mmcv's ConvModules, of which
    necks and heads are made, and takes out dropout. The outputs of the model stay the same but for
    rounding. A ConvModule with hooks, or pruned or reparametrized, stays as it is.

    Args:
        model: the model, in evaluation mode.
        inplace: change the model, or else a copy of it. Defaults to True.

    Returns:
        The model or its copy. Its state dict has other keys than before; it can be loaded into a
        model that has been switched too.

    Raises:
        InputError: if the model is in training mode.

    Example:
        >>> model = nn.Sequential(ConvModule(3, 8, 1, norm_cfg=dict(type='BN')), nn.Dropout())
        >>> [type(module).__name__ for module in switch_to_deploy(model.eval()).modules()]
        ['Sequential', 'ConvModule', 'Conv2d', 'Identity', 'ReLU', 'Identity']
    """
    if model.training:
        raise InputError('switch_to_deploy is for inference: call eval() on the model first')
    if not inplace:
        model = copy.deepcopy(model)
    _, *modules = model.modules()
    for module in (*modules, model):
        switch = getattr(module, 'switch_to_deploy', None)
        if switch is not None:
            switch()
    uses = Counter(id(m) for _, m in model.named_modules(remove_duplicate=False))
    for module in [*model.modules()]:
        # A convolution that several ConvModules share has no norm of its own.
        if (
            isinstance(module, ConvModule)
            and module.order[:2] == ('conv', 'norm')
            and uses[id(module.conv)] == uses[id(module)] == 1
            and not (is_changed(module.conv) or (module.norm and is_changed(module.norm)))
        ):
            fuse_conv_bn(module)
        for name, child in module.named_children():
            if isinstance(child, _DROPOUTS):
                setattr(module, name, nn.Identity())
    return model.requires_grad_(False)
