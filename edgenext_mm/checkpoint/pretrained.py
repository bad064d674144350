"""Loading of published and of trained checkpoints into backbones and classifiers."""

import torch
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader

from ..errors import InputError
from .families import BACKBONE, is_head, to_our_names
from .files import read_checkpoint
from .zoo import SCHEME

# Where training runs keep their weights, averaged ones first. What mmengine saves as state_dict is
# the average already, where there is one.
_WRAPPERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of averages, and of wrappers for training.
_PREFIXES = ('ema_module.', 'ema_', 'module.', '')


def load_pretrained(model, checkpoint, prefix=None):
    """Load a checkpoint into a backbone or a classifier, all of its weights or none.

    Takes those of the reference implementation, of timm, of mmpretrain, and of detectors,
    segmentors and classifiers with this backbone. A backbone leaves out heads and other parts of
    the network.

    Args:
        model (EdgeNeXt | EdgeNeXtClassifier): the model. Its output norms keep their values if the
            checkpoint has none of them.
        checkpoint (str): see :func:`~.files.read_checkpoint`.
        prefix (str): of the names in the checkpoint, such as ``teacher.backbone``. Defaults to the
            one that fits, of ``module.``, ``backbone.`` and such.

    Raises:
        InputError: if the checkpoint cannot be read, or if its weights are not exactly those of the
            model.
    """
    state = fit(model, read_checkpoint(checkpoint), checkpoint, prefix)
    model.load_state_dict(state, strict=False)  # without the output norms, perhaps


def init_pretrained(model):
    """Load the checkpoint of a model's ``init_cfg``, if that is one of type ``Pretrained``.

    Returns:
        bool: whether it is.

    Raises:
        InputError: if the ``init_cfg`` has something else beside, or as :func:`load_pretrained`.
    """
    cfgs = model.init_cfg if isinstance(model.init_cfg, list) else [model.init_cfg or {}]
    if not any(cfg.get('type') in ('Pretrained', PretrainedInit) for cfg in cfgs):
        return False
    if len(cfgs) > 1 or not {'checkpoint'} < set(cfgs[0]) <= {'type', 'checkpoint', 'prefix'}:
        raise InputError(
            "an init_cfg with type='Pretrained' has a checkpoint and perhaps a prefix, and "
            f'stands alone; got {model.init_cfg}'
        )
    load_pretrained(model, cfgs[0]['checkpoint'], cfgs[0].get('prefix'))
    return True


def fit(model, content, checkpoint, prefix=None):
    """Make a state dict for a model out of what a checkpoint holds.

    Args:
        model (EdgeNeXt | EdgeNeXtClassifier): the model.
        content (dict): the content of a checkpoint of any family.
        checkpoint (str): what messages call it.
        prefix (str): see :func:`load_pretrained`.

    Returns:
        dict[str, Tensor]: the state dict, without output norms if the checkpoint has none of them.

    Raises:
        InputError: if the weights are not exactly those of the model.
    """
    above = '' if hasattr(model, 'backbone') else BACKBONE
    own = {f'{above}{key}': value.shape for key, value in model.state_dict().items()}
    state = find_weights(content, own, checkpoint, prefix)
    if above:
        state = {k: v for k, v in state.items() if k.startswith(BACKBONE) and not is_head(k)}
    norms = {key for key in own.keys() | state.keys() if key.startswith(f'{BACKBONE}out_norms.')}
    shared = norms & own.keys() & state.keys()
    expected = {key: shape for key, shape in own.items() if key not in norms or shared}
    state = {key: value for key, value in state.items() if key not in norms or key in shared}
    network = type(getattr(model, 'backbone', model))
    check_shapes(state, expected, f'{checkpoint} does not fit this model', network)
    return {key.removeprefix(above): value for key, value in state.items()}


def find_weights(content, keys, checkpoint, prefix=None):
    """Find the weights in the content of a checkpoint, and give them the names of our classifier.

    Args:
        content (dict): the content of a checkpoint of any family.
        keys (Iterable[str]): the names that are expected.
        checkpoint (str): what messages call it.
        prefix (str): see :func:`load_pretrained`.

    Returns:
        dict[str, Tensor]: see :func:`~.families.to_our_names`.
    """
    wrapper = _wrapper(content)
    weights = content[wrapper] if wrapper else content
    weights = {key: value for key, value in weights.items() if isinstance(value, torch.Tensor)}
    prefixes = _PREFIXES if prefix is None else [f'{prefix.rstrip(".")}.']
    candidates = {prefix: to_our_names(_below(weights, prefix), keys) for prefix in prefixes}
    prefix = max(candidates, key=lambda prefix: len(candidates[prefix].keys() & set(keys)))
    averaged = [wrapper] if wrapper.endswith('_ema') else []
    if prefix.startswith('ema_') and candidates[prefix]:
        averaged.append(prefix)
    for where in averaged:
        print_log(f'{checkpoint}: taking the averaged weights under {where!r}', 'current')
    return candidates[prefix]


def check_shapes(state, expected, problem, network):
    """Raise an error that begins with the problem, unless tensors and shapes are the same.

    Args:
        state (dict[str, Tensor]): weights with the names of our classifier.
        expected (dict[str, Size]): the shapes that they should have.
        problem (str): what the message says first.
        network (type): the backbone's class, such as EdgeNeXt.

    Raises:
        InputError: with the first names of each kind, the shapes, and the published network that
            the weights are of.
    """
    got = {key: value.shape for key, value in state.items()}
    if got == expected:
        return
    prefix = '' if any(not key.startswith(BACKBONE) for key in expected) else BACKBONE
    names = {key: key.removeprefix(prefix) for key in got.keys() | expected.keys()}
    lists = {
        'missing': sorted(names[key] for key in expected.keys() - got.keys()),
        'unexpected': sorted(names[key] for key in got.keys() - expected.keys()),
        'of another shape': sorted(
            f'{names[key]} ({tuple(got[key])} in the checkpoint, {tuple(shape)} in the model)'
            for key, shape in expected.items()
            if key in got and got[key] != shape
        ),
    }
    text = '; '.join(
        f'{len(keys)} of its tensors are {what}, such as {", ".join(keys[:3])}'
        for what, keys in lists.items()
        if keys
    )
    theirs, ours = arch_of(got, network), arch_of(expected, network)
    if theirs and ours and theirs != ours:
        text += (
            f'. The checkpoint is {theirs}, the model is {ours}: set arch={theirs!r}, or take '
            'another checkpoint'
        )
    elif all(key.startswith('head.') for key, _ in got.items() ^ expected.items()):
        text += (
            '. For a new head, let only the backbone load the checkpoint: '
            'model.backbone.init_cfg instead of model.init_cfg or load_from'
        )
    raise InputError(f'{problem}: {text}')


def arch_of(shapes, network):
    """Return the name of the published network that has most of these shapes, or None.

    Args:
        shapes (dict[str, Size]): by the names of our classifier.
        network (type): the backbone's class, whose ``archs`` are the published networks.
    """

    def overlap(arch):
        expected = backbone_shapes(network, arch)
        return sum(shapes.get(key) == shape for key, shape in expected.items()) / len(expected)

    best = max(getattr(network, 'archs', ()), key=overlap, default=None)
    return best if best and overlap(best) > 0.9 else None


def backbone_shapes(network, arch):
    """Return the shapes of a published network's tensors, by the names of our classifier."""
    with torch.device('meta'):
        return {f'{BACKBONE}{k}': v.shape for k, v in network(arch).state_dict().items()}


def _wrapper(content):
    """Return the name under which a training run saved the weights, or ''."""
    return next((k for k in _WRAPPERS if content.get(k) and isinstance(content[k], dict)), '')


def _below(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if str(k).startswith(prefix)}


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_edgenext(filename, map_location=None):
    """Let mmengine load ``edgenext://`` names into a backbone or a classifier."""
    content = read_checkpoint(filename)
    return {'state_dict': content.get(_wrapper(content), content)}
