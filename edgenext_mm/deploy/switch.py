"""From the form of a model that trains to the one that infers fastest."""

import copy
from collections import Counter

import torch.nn as nn
from mmcv.cnn import ConvModule, fuse_conv_bn

from ..errors import InputError

_DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout)


def switch_to_deploy(model, inplace=True):
    """Give a detector, segmentor, classifier or backbone the form that infers fastest.

    Calls ``switch_to_deploy`` of each module that has it, as EdgeNeXt and some networks of
    OpenMMLab do, folds BatchNorm into the convolution before it in mmcv's ConvModules, of which
    necks and heads are made, and takes out dropout. What comes out of the model stays the same but
    for rounding.

    Args:
        model (nn.Module): the model, in evaluation mode.
        inplace (bool): change the model, or else a copy of it. Defaults to True.

    Returns:
        nn.Module: the model or its copy. Its state dict has other keys than before; it can be
        loaded into a model that has been switched too.

    Raises:
        InputError: if the model is in training mode.
    """
    if model.training:
        raise InputError('switch_to_deploy is for inference: call eval() on the model first')
    if not inplace:
        model = copy.deepcopy(model)
    for module in [*model.modules()]:
        if module is not model and hasattr(module, 'switch_to_deploy'):
            module.switch_to_deploy()
    if hasattr(model, 'switch_to_deploy'):
        model.switch_to_deploy()
    uses = Counter(id(m) for _, m in model.named_modules(remove_duplicate=False))
    for module in [*model.modules()]:
        # A convolution that several of them share has no norm of its own.
        if (
            isinstance(module, ConvModule)
            and module.order[:2] == ('conv', 'norm')
            and uses[id(module.conv)] == uses[id(module)] == 1
        ):
            fuse_conv_bn(module)
        for name, child in module.named_children():
            if isinstance(child, _DROPOUTS):
                setattr(module, name, nn.Identity())
    return model.requires_grad_(False)
