"""The way of weights into models, with one set of rules for all tasks (:func:`fit`)."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn as nn
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader
from torch import Tensor

from ..errors import InputError
from .families import BACKBONE, STEM, is_head, to_our_names
from .files import read_checkpoint
from .zoo import SCHEME

# Where training runs keep their weights, averaged ones first. What mmengine saves as state_dict is
# the average already, where there is one.
_WRAPPERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of averages, and of wrappers for training.
_PREFIXES = ('ema_module.', 'ema_', 'module.', '')
_OUT_NORMS = f'{BACKBONE}out_norms.'


def load_pretrained(
    model: nn.Module, checkpoint: str, prefix: str | None = None, adapt_stem: bool = False
) -> None:
    """Load a checkpoint into a model with an EdgeNeXt backbone, all of its weights or none.

    Takes those of the reference implementation, of timm, of mmpretrain, and of detectors,
    segmentors and classifiers with this backbone. What the model has no place for is left out and
    counted in the log: of a backbone, heads; stages after the last of its ``out_indices``; output
    norms.

    Args:
        model: a backbone, or a classifier, detector or segmentor. Its output norms keep their
            values if the checkpoint has none.
        checkpoint: see :func:`~.files.read_checkpoint`.
        prefix: of the names in the checkpoint, such as ``teacher.backbone``. Defaults to the one
            that fits, of ``module.``, ``backbone.`` and such.
        adapt_stem: if the model's images have another number of channels than the checkpoint's,
            make the weights of its first convolution from those of the checkpoint: for one channel
            their sum, for more the weights in turn, scaled by the ratio of the channels.

    Raises:
        InputError: if the checkpoint cannot be read, or if its weights are not exactly those of the
            model.

    Example:
        >>> import tempfile
        >>> from edgenext_mm.models import EdgeNeXt
        >>> arch = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)
        >>> with tempfile.NamedTemporaryFile(suffix='.pth') as file:
        ...     torch.save({'model': EdgeNeXt(arch).state_dict(), 'epoch': 3}, file.name)
        ...     load_pretrained(EdgeNeXt(arch), file.name)
    """
    state = fit(model, read_checkpoint(checkpoint), checkpoint, prefix, adapt_stem=adapt_stem)
    model.load_state_dict(state, strict=False)  # without the output norms, perhaps


def init_pretrained(model: Any) -> bool:
    """Load the checkpoint of a model's ``init_cfg``, if that is one of type ``Pretrained``.

    Returns:
        Whether it is.

    Raises:
        InputError: if the ``init_cfg`` has something else beside, or as :func:`load_pretrained`.
    """
    cfgs = model.init_cfg if isinstance(model.init_cfg, list) else [model.init_cfg or {}]
    if not any(cfg.get('type') in ('Pretrained', PretrainedInit) for cfg in cfgs):
        return False
    options = {key: value for key, value in cfgs[0].items() if key != 'type'}
    if len(cfgs) > 1 or not {'checkpoint'} <= set(options) <= {
        'checkpoint',
        'prefix',
        'adapt_stem',
    }:
        raise InputError(
            "an init_cfg with type='Pretrained' has a checkpoint and perhaps a prefix and "
            f'adapt_stem, and stands alone; got {model.init_cfg}'
        )
    load_pretrained(model, **options)
    return True


def fit(
    model: nn.Module,
    content: Mapping[str, Any],
    checkpoint: str,
    prefix: str | None = None,
    purpose: Literal['start', 'train', 'test'] = 'start',
    adapt_stem: bool = False,
) -> dict[str, Tensor]:
    """Make a state dict for a model out of what a checkpoint holds.

    What the model has no place for is left out: see :func:`load_pretrained`. For the rest, it
    depends on the purpose what may be missing. The log counts these tensors and names the first.

    Args:
        model: see :func:`load_pretrained`.
        content: the content of a checkpoint of any family.
        checkpoint: what messages call it.
        prefix: see :func:`load_pretrained`.
        purpose: for a model that starts from the weights, the output norms may be missing. One that
            a run loads to ``train`` on finds at least a part of its head in the checkpoint. Other
            tensors outside of the backbone may be missing or of another shape, such as those for
            the number of classes. For a ``test``, nothing may be missing.
        adapt_stem: see :func:`load_pretrained`.

    Returns:
        The state dict, without what the model has and the checkpoint lacks.

    Raises:
        InputError: if the weights are others than these.
    """
    above = BACKBONE if hasattr(model, 'archs') else ''  # a backbone alone
    own = {f'{above}{key}': value.shape for key, value in model.state_dict().items()}
    state = find_weights(content, own, checkpoint, prefix)
    if adapt_stem and STEM in state and state[STEM].ndim == 4:
        state[STEM] = _adapted(state[STEM], own[STEM][1], checkpoint)
    stages = {'', *map(_stage, own)}
    norms = {key for key in own if key.startswith(_OUT_NORMS)}
    unused = {
        key
        for key in state.keys() - own.keys()
        if (above and (is_head(key) or not key.startswith(above)))
        or _stage(key) not in stages
        or (key.startswith(_OUT_NORMS) and (norms or purpose != 'test'))
    }
    differ = _differences(state, own) - unused
    outside = {key for key in differ | own.keys() if not _is_inside(key, own)}
    kept: set[str] = set()
    if purpose == 'start' and norms <= differ:
        kept = norms
    elif purpose == 'train' and outside - differ:
        kept = outside & differ
    state = {key: value for key, value in state.items() if key not in unused | kept}
    expected = {key: shape for key, shape in own.items() if key not in kept}
    backbone: nn.Module = getattr(model, 'backbone', model)
    check_shapes(state, expected, f'{checkpoint} does not fit this model', type(backbone))
    if unused:
        print_log(
            f'{checkpoint}: {len(unused)} tensors are left out, for which the model has no place '
            f'({_first(unused)})',
            'current',
            logging.WARNING,
        )
    if kept:
        print_log(
            f'{checkpoint}: {len(kept)} tensors are missing, unexpected or of another shape '
            f'({_first(kept)}), and the model keeps its own',
            'current',
            logging.WARNING,
        )
    return {key.removeprefix(above): value for key, value in state.items()}


def find_weights(
    content: Mapping[str, Any], keys: Iterable[str], checkpoint: str, prefix: str | None = None
) -> dict[str, Tensor]:
    """Find the weights in the content of a checkpoint, and give them the names of our classifier.

    Args:
        content: the content of a checkpoint of any family.
        keys: the names that are expected.
        checkpoint: what messages call it.
        prefix: see :func:`load_pretrained`.

    Returns:
        See :func:`~.families.to_our_names`.
    """
    keys = set(keys)
    wrapper = _wrapper(content)
    weights = content[wrapper] if wrapper else content
    weights = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    prefixes = _PREFIXES if prefix is None else [f'{prefix.rstrip(".")}.']
    candidates = {prefix: to_our_names(_below(weights, prefix), keys) for prefix in prefixes}
    best = max(candidates, key=lambda prefix: len(candidates[prefix].keys() & keys))
    if prefix is None and not candidates[best].keys() & keys:
        best = ''  # so that an error names what is there
    averaged = [wrapper] if wrapper.endswith('_ema') else []
    if best.startswith('ema_') and candidates[best]:
        averaged.append(best)
    for where in averaged:
        print_log(f'{checkpoint}: taking the averaged weights under {where!r}', 'current')
    return candidates[best]


def check_shapes(
    state: Mapping[str, Tensor],
    expected: Mapping[str, torch.Size],
    problem: str,
    network: type[nn.Module],
) -> None:
    """Raise an error that begins with the problem, unless tensors and shapes are the same.

    Args:
        state: weights with the names of our classifier.
        expected: the shapes that they should have.
        problem: what the message says first.
        network: the backbone's class, such as EdgeNeXt.

    Raises:
        InputError: with the number of tensors that fit, the first names of those that do not, and
            the remedy.
    """
    differences = _differences(state, expected)
    if not differences:
        return
    got = {key: value.shape for key, value in state.items()}
    missing, unexpected = expected.keys() - got.keys(), got.keys() - expected.keys()
    other = {
        f'{key} ({tuple(got[key])} in the checkpoint, {tuple(expected[key])} in the model)'
        for key in differences - missing - unexpected
    }
    kinds = {'missing': missing, 'unexpected': unexpected, 'of another shape': other}
    text = f'{len(expected.keys() - differences)} of {len(expected)} tensors fit'
    for what, keys in kinds.items():
        text += f'; {len(keys)} {what} ({_first(keys)})' if keys else ''
    if STEM in differences - missing - unexpected and _but_channels(got) == _but_channels(expected):
        text += (
            f'. The checkpoint is for images of {got[STEM][1]} channels, the model for those of '
            f'{expected[STEM][1]}: to start from it, set adapt_stem=True in '
            "init_cfg=dict(type='Pretrained', ...)"
        )
    theirs, ours = arch_of(got, network), arch_of(expected, network)
    if theirs and ours and theirs != ours:
        text += (
            f'. The checkpoint is {theirs}, the model is {ours}: set arch={theirs!r}, or take '
            'another checkpoint'
        )
    elif not any(_is_inside(key, expected) or key.startswith(_OUT_NORMS) for key in differences):
        text += (
            '. Its backbone fits. To train from that alone, set model.backbone.init_cfg='
            "dict(type='Pretrained', checkpoint=...) instead of model.init_cfg or load_from"
        )
    raise InputError(f'{problem}: {text}')


def arch_of(shapes: Mapping[str, torch.Size], network: type[nn.Module]) -> str | None:
    """Return the name of the published network that has most of these shapes, or None.

    Args:
        shapes: by the names of our classifier; of the first stages, or of all.
        network: the backbone's class, whose ``archs`` are the published networks.
    """
    stages = {*map(_stage, shapes)}

    def overlap(arch: str) -> float:
        expected = backbone_shapes(network, arch)
        expected = {key: shape for key, shape in expected.items() if _stage(key) in stages}
        same = sum(shapes.get(key) == shape for key, shape in expected.items())
        return same / max(len(expected), 1)

    best = max(getattr(network, 'archs', ()), key=overlap, default=None)
    return best if best and overlap(best) > 0.9 else None


def backbone_shapes(
    network: type[nn.Module], arch: str, in_channels: int = 3
) -> dict[str, torch.Size]:
    """Return the shapes of a published network's tensors, by the names of our classifier."""
    with torch.device('meta'):
        state = network(arch, in_channels=in_channels).state_dict()
    return {f'{BACKBONE}{key}': value.shape for key, value in state.items()}


def _adapted(weight: Tensor, channels: int, checkpoint: str) -> Tensor:
    """Return the weights of a convolution for images of another number of channels."""
    given = weight.shape[1]
    if given == channels:
        return weight
    if channels == 1:
        adapted, how = weight.sum(1, keepdim=True), 'summed'
    else:
        turns = -(-channels // given)
        adapted = weight.repeat(1, turns, 1, 1)[:, :channels] * (given / channels)
        how = f'repeated, and scaled by {given}/{channels}'
    print_log(
        f'{checkpoint}: the stem is for images of {given} channels, and the model for those of '
        f'{channels}: its weights are {how}',
        'current',
    )
    return adapted


def _but_channels(shapes: Mapping[str, torch.Size]) -> tuple[int, ...]:
    """Return the shape of the stem but for the channels of images."""
    outputs, _, *window = shapes[STEM]
    return outputs, *window


def _stage(key: str) -> str:
    """Return the number of a tensor's stage in the backbone, or ''."""
    match = re.match(rf'{re.escape(BACKBONE)}(?:stages|downsample_layers)\.(\d+)\.', key)
    return match[1] if match else ''


def _is_inside(key: str, own: Mapping[str, torch.Size]) -> bool:
    """Tell whether a tensor is the backbone's, but for output norms and misplaced heads."""
    return (
        key.startswith(BACKBONE)
        and not key.startswith(_OUT_NORMS)
        and (key in own or not is_head(key))
    )


def _differences(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> set[str]:
    """Return the names that are in only one of both or have another shape in the other."""
    got = {key: value.shape for key, value in state.items()}
    return {key for key, _ in got.items() ^ expected.items()}


def _first(keys: Iterable[str]) -> str:
    names = sorted(keys)
    return ', '.join(names[:3] + ['...'] * (len(names) > 3))


def _wrapper(content: Mapping[str, Any]) -> str:
    """Return the name under which a training run saved the weights, or ''."""
    return next((k for k in _WRAPPERS if content.get(k) and isinstance(content[k], dict)), '')


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if str(k).startswith(prefix)}


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_edgenext(filename: str, map_location: object = None) -> dict[str, Any]:
    """Let mmengine load ``edgenext://`` names."""
    content = read_checkpoint(filename)
    return {'state_dict': content.get(_wrapper(content), content)}
