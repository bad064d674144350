"""Loading of published and of trained checkpoints into the backbone."""

import torch
from mmengine.logging import print_log

from ..errors import InputError
from .families import FAMILIES, rename, to_our_names
from .files import read_checkpoint

# Where training runs keep their weights, averaged ones first. What mmengine saves as state_dict is
# the average already, where there is one.
_WRAPPERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of the networks that hold the backbone, and of wrappers for training.
_PREFIXES = ('module.', 'ema_', 'backbone.')
_CLASSIFIER = tuple({rename(key, family) for family in FAMILIES for key in ('norm.', 'head.')})


def load_pretrained(backbone, checkpoint):
    """Load a checkpoint into a backbone, all of its weights or none.

    Takes those of the reference implementation, of timm, of mmpretrain, and of detectors,
    segmentors and classifiers with this backbone. Heads and other parts of the network are left
    out.

    Args:
        backbone (EdgeNeXt): the model. Its output norms keep their values where the checkpoint has
            none.
        checkpoint (str): see :func:`~.files.read_checkpoint`.

    Raises:
        InputError: if the checkpoint cannot be read, or if its weights are not exactly those of the
            backbone.
    """
    state = _weights(read_checkpoint(checkpoint), checkpoint)
    own = {key: value.shape for key, value in backbone.state_dict().items()}
    state = to_our_names(state, own)
    state = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    norms = [key for key in own.keys() | state.keys() if key.startswith('out_norms.')]
    optional = {key for key in norms if key not in own or key not in state}
    got = {key: value.shape for key, value in state.items() if key not in optional}
    expected = {key: shape for key, shape in own.items() if key not in optional}
    if got != expected:
        raise InputError(f'{checkpoint} does not fit this backbone: {_differences(got, expected)}')
    backbone.load_state_dict({key: state[key] for key in expected}, strict=False)


def _weights(content, checkpoint):
    """Take the state dict of the backbone out of what training runs have around it."""
    wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
    if wrapper:
        print_log(f'{checkpoint}: taking the weights under {wrapper!r}', 'current')
        content = content[wrapper]
    state = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    for prefix in _PREFIXES:
        if any(key.startswith(prefix) for key in state):
            state = {
                key.removeprefix(prefix): value
                for key, value in state.items()
                if key.startswith(prefix)
            }
    return state


def _differences(got, expected):
    archs = _arch(got), _arch(expected)
    if all(archs) and archs[0] != archs[1]:
        return f'the checkpoint is {archs[0]}, the model is {archs[1]}'
    lines = {
        'missing': sorted(expected.keys() - got.keys()),
        'unexpected': sorted(got.keys() - expected.keys()),
        'of another shape': sorted(
            f'{key} ({tuple(got[key])} in the checkpoint, {tuple(expected[key])} in the model)'
            for key in got.keys() & expected.keys()
            if got[key] != expected[key]
        ),
    }
    return '; '.join(
        f'{len(keys)} tensors are {what}, such as {", ".join(keys[:3])}'
        for what, keys in lines.items()
        if keys
    )


def _arch(shapes):
    """Return the name of the published network with these shapes, or None."""
    from ..models.edgenext import ARCHS, EdgeNeXt  # which imports this module

    backbone = {key: shape for key, shape in shapes.items() if not key.startswith('out_norms.')}
    for arch in ARCHS:
        with torch.device('meta'):
            model = EdgeNeXt(arch)
        if backbone == {key: value.shape for key, value in model.state_dict().items()}:
            return arch
    return None
