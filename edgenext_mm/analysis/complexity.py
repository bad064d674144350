"""Parameters and multiply-adds of a model."""

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import bmm_flop_jit


def count_complexity(model, shape):
    """Count the parameters and multiply-adds of a model and of its parts.

    Args:
        model (nn.Module): an mm model whose forward takes images, such as a detector.
        shape (tuple[int]): height and width of the image in pixels.

    Returns:
        dict[str, tuple[int, int]]: parameters, and multiply-adds for one image as fvcore counts
        them (one multiply-add is 1), for each part with parameters and for the 'model'.
    """
    model.eval()
    image = torch.zeros(1, 3, *shape, device=next(model.parameters()).device)
    counter = FlopCountAnalysis(model, image)
    # fvcore knows the product without the sum.
    counter.set_op_handle(
        'aten::baddbmm', lambda inputs, outputs: bmm_flop_jit(inputs[1:3], outputs)
    )
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    multiply_adds = counter.by_module()
    rows = {}
    for name, part in (*model.named_children(), ('model', model)):
        parameters = sum(parameter.numel() for parameter in part.parameters())
        if parameters:
            rows[name] = parameters, multiply_adds['' if part is model else name]
    return rows
