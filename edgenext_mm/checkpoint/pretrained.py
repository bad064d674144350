"""Loading of published and of trained checkpoints into the backbone."""

from itertools import product

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from ..errors import InputError
from .families import FAMILIES, rename, to_our_names
from .files import read_checkpoint
from .zoo import SCHEME

# Where training runs keep their weights, averaged ones first. What mmengine saves as state_dict is
# the average already, where there is one.
_WRAPPERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of averages, of wrappers for training, and of networks that hold the backbone.
_PREFIXES = [''.join(parts) for parts in product(('ema_', ''), ('', 'module.'), ('', 'backbone.'))]
_CLASSIFIER = tuple({rename(key, family) for family in FAMILIES for key in ('norm.', 'head.')})


def load_pretrained(backbone, checkpoint, prefix=None):
    """Load a checkpoint into a backbone, all of its weights or none.

    Takes those of the reference implementation, of timm, of mmpretrain, and of detectors,
    segmentors and classifiers with this backbone. Heads and other parts of the network are left
    out.

    Args:
        backbone (EdgeNeXt): the model. Its output norms keep their values if the checkpoint has
            none of them.
        checkpoint (str): see :func:`~.files.read_checkpoint`.
        prefix (str): of the backbone's names in the checkpoint. Defaults to the one that fits,
            of ``module.``, ``backbone.`` and such.

    Raises:
        InputError: if the checkpoint cannot be read, or if its weights are not exactly those of the
            backbone.
    """
    own = {key: value.shape for key, value in backbone.state_dict().items()}
    weights = _unwrap(read_checkpoint(checkpoint), checkpoint)
    candidates = {
        prefix: to_our_names(_below(weights, prefix), own)
        for prefix in (_PREFIXES if prefix is None else [prefix])
    }
    prefix = max(candidates, key=lambda prefix: len(candidates[prefix].keys() & own.keys()))
    if prefix.startswith('ema_') and candidates[prefix]:
        _say_averaged(checkpoint, prefix)
    state = {k: v for k, v in candidates[prefix].items() if not k.startswith(_CLASSIFIER)}

    norms = {key for key in own.keys() | state.keys() if key.startswith('out_norms.')}
    shared = norms & own.keys() & state.keys()
    expected = {k: shape for k, shape in own.items() if k not in norms or shared}
    got = {k: value.shape for k, value in state.items() if k not in norms or k in shared}
    if got != expected:
        raise InputError(f'{checkpoint} does not fit this backbone: {_differences(got, expected)}')
    backbone.load_state_dict({key: state[key] for key in expected}, strict=False)


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_edgenext(filename, map_location=None):
    """Let mmengine load ``edgenext://`` names into a backbone."""
    return {'state_dict': _unwrap(read_checkpoint(filename), filename)}


def _unwrap(content, checkpoint):
    """Take the state dict out of what training runs have around it."""
    found = [key for key in _WRAPPERS if content.get(key) and isinstance(content[key], dict)]
    if found:
        if found[0].endswith('_ema'):
            _say_averaged(checkpoint, found[0])
        content = content[found[0]]
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}


def _say_averaged(checkpoint, where):
    print_log(f'{checkpoint}: taking the averaged weights under {where!r}', 'current')


def _below(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if str(k).startswith(prefix)}


def _differences(got, expected):
    lists = {
        'missing': sorted(expected.keys() - got.keys()),
        'unexpected': sorted(got.keys() - expected.keys()),
        'of another shape': sorted(
            f'{key} ({tuple(got[key])} in the checkpoint, {tuple(expected[key])} in the model)'
            for key in got.keys() & expected.keys()
            if got[key] != expected[key]
        ),
    }
    text = '; '.join(
        f'{len(keys)} of its tensors are {what}, such as {", ".join(keys[:3])}'
        for what, keys in lists.items()
        if keys
    )
    theirs, ours = _arch(got), _arch(expected)
    if theirs and ours and theirs != ours:
        text += (
            f'. The checkpoint is {theirs}, the model is {ours}: set arch={theirs!r}, or take '
            'another checkpoint'
        )
    return text


def _arch(shapes):
    """Return the name of the published network that has most of these shapes, or None."""
    from ..models.edgenext import ARCHS, EdgeNeXt  # which imports this module

    def overlap(arch):
        with torch.device('meta'):
            state = EdgeNeXt(arch).state_dict()
        return sum(shapes.get(key) == value.shape for key, value in state.items()) / len(state)

    best = max(ARCHS, key=overlap)
    return best if overlap(best) > 0.9 else None
