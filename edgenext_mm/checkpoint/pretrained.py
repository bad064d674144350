"""The way of weights into models, with one set of rules for all tasks (:func:`fit`)."""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any, Literal

import torch
import torch.nn as nn
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local as mmengine_load_from_local
from torch import Tensor

from ..errors import InputError
from .cvnets import from_cvnets, predicts_boxes, weights_of_cvnets
from .families import BACKBONE, STEM, is_head, to_our_names
from .files import read_as_checkpoint, read_checkpoint
from .zoo import SCHEME

# Where training runs keep their weights, averaged ones first. What mmengine saves as state_dict is
# the average already, where there is one.
_WRAPPERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
_AVERAGES = ('ema_module.', 'ema_')
# Of PyTorch's wrappers for several processes, and of what Lightning's modules call their network.
_OWNERS = ('module.', 'model.', 'net.')
# What torch.compile puts before the names of what it has compiled, a network or parts of one.
_COMPILED = re.compile(r'(^|\.)_orig_mod\.')
_BACKBONE_ALONE = (
    '. To train from that alone, set model.backbone.init_cfg='
    "dict(type='Pretrained', checkpoint=...) instead of model.init_cfg or load_from"
)
_OUT_NORMS = f'{BACKBONE}out_norms.'
# Of EdgeNeXt's position_stages that no published network has.
_MORE_POSITIONS = re.compile(rf'^{re.escape(BACKBONE)}stages\.[023]\..*\.pos_embd\.')


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
            values if the checkpoint has none. Position encodings that it has in more stages than
            the checkpoint are set to zero.
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
    class_layers: Callable[[], Collection[str]] = frozenset,
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
        purpose: for a model that starts from the weights, the output norms and position encodings
            of more stages may be missing. For one that a run loads to ``train`` on, tensors whose
            shapes depend on the number of classes may be missing or of another shape, but not all
            that is beside the backbone. For a ``test``, nothing may be missing.
        class_layers: returns the names of the tensors that depend on the number of classes. It is
            called when something does not fit. Defaults to one that knows of none.
        adapt_stem: see :func:`load_pretrained`.

    Returns:
        The state dict of the whole model, with the values that the model has now where the
        checkpoint has none.

    Raises:
        InputError: if the weights are others than these, or not finite.
    """
    above = BACKBONE if hasattr(model, 'archs') else ''  # a backbone alone
    values = {f'{above}{key}': value for key, value in model.state_dict().items()}
    own = {key: value.shape for key, value in values.items()}
    if (weights := weights_of_cvnets(content)) is not None:
        network: Any = type(getattr(model, 'backbone', model))
        networks = (backbone_shapes(network, arch) for arch in network.archs)
        content = from_cvnets(weights, networks, checkpoint)
        if any(key.startswith('bbox_head.') for key in own) and any(map(predicts_boxes, content)):
            raise InputError(
                f'{checkpoint} is of CVNets: give what tools/convert_checkpoint.py --from cvnets '
                'writes'
            )
    state = find_weights(content, own, checkpoint, prefix)
    if adapt_stem and STEM in state and state[STEM].ndim == 4:
        state[STEM] = _adapted(state[STEM], own[STEM][1], checkpoint)
    state |= {key: values[key] for key in _uncounted(own, state)}
    if purpose == 'start' and (new := {*filter(_MORE_POSITIONS.match, own)} - state.keys()):
        state |= {key: torch.zeros_like(values[key]) for key in new}
        print_log(
            f'{checkpoint}: position encodings it lacks start from 0 ({_first(new)})', 'current'
        )
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
    beside = {key for key in own.keys() & state.keys() if not _is_inside(key, own)}
    kept: set[str] = set()
    if purpose == 'start' and norms <= differ:
        kept = norms
    elif purpose == 'train' and differ and beside:
        kept = differ & {*class_layers()}
    state = {key: value for key, value in state.items() if key not in unused}
    state |= {key: values[key] for key in kept}
    backbone: nn.Module = getattr(model, 'backbone', model)
    check_shapes(state, own, f'{checkpoint} does not fit this model', type(backbone))
    if unused:
        print_log(
            f'{checkpoint}: {len(unused)} tensors are left out, for which the model has no place '
            f'({_first(unused)})',
            'current',
            logging.WARNING,
        )
    if kept:
        layers = sorted({key.rpartition('.')[0] for key in kept})
        print_log(
            f'{checkpoint}: the tensors of {len(layers)} layers are missing or of another shape '
            f'({", ".join(layers)}), and the model keeps its own',
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
    weights = {_plain(key): value for key, value in weights.items() if isinstance(value, Tensor)}
    prefixes = _prefixes(weights) if prefix is None else [f'{prefix.rstrip(".")}.']
    candidates = {prefix: to_our_names(_below(weights, prefix), keys) for prefix in prefixes}
    best = max(candidates, key=lambda prefix: len(candidates[prefix].keys() & keys))
    if prefix is None and not candidates[best].keys() & keys:
        best = ''  # so that an error names what is there
    if wrapper and wrapper not in _WRAPPERS:
        print_log(f'{checkpoint}: taking the weights under {wrapper!r}', 'current')
    averaged = [wrapper] if wrapper.endswith('_ema') else []
    if best in _AVERAGES and candidates[best]:
        averaged.append(best)
    elif prefix is None:
        _say_left_out(checkpoint, best, weights)
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
            the remedy; or with the first names of those that are not plain, finite numbers.
    """
    differences = _differences(state, expected)
    if not differences:
        odd = [k for k, v in state.items() if v.is_quantized or v.is_meta or v.is_sparse]
        if odd:
            raise InputError(
                f'{problem}: {len(odd)} of {len(state)} tensors are quantized, sparse or without '
                f'values ({_first(odd)}): take a checkpoint of plain numbers'
            )
        bad = [key for key, value in state.items() if not value.isfinite().all()]
        if bad:
            raise InputError(
                f'{problem}: {len(bad)} of {len(state)} tensors are not finite ({_first(bad)}): '
                'take a checkpoint from before the training went wrong'
            )
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
    elif (
        any(key.endswith('.gamma') for key in missing)
        and not any(key.endswith('.gamma') for key in got)
        and any(key.startswith(BACKBONE) for key in got)
    ):
        text += (
            '. If it is of a model after switch_to_deploy, load the checkpoint of the training, or '
            'switch this model too before it loads'
        )
    elif (missing or other) and not any(
        _is_inside(key, expected) or key.startswith(_OUT_NORMS) for key in differences
    ):
        text += f'. Its backbone fits{_BACKBONE_ALONE}'
    raise InputError(f'{problem}: {text}')


def check_part(
    module: nn.Module, state: Mapping[str, Tensor], prefix: str, others: Collection[str]
) -> None:
    """Check what mmengine has loaded into a part of a model.

    Args:
        module: the part, such as a backbone.
        state: the part's share of the state dict.
        prefix: what the names there begin with, such as ``backbone.``.
        others: names in the state dict for which the whole model has no place.

    Raises:
        InputError: if the tensors are not exactly those of the part, or not finite, or if there are
            others; a backbone alone may leave out a head.
    """
    above = BACKBONE if hasattr(module, 'archs') else prefix
    own = {f'{above}{key}': value.shape for key, value in module.state_dict().items()}
    found = {
        f'{above}{key.removeprefix(prefix)}': value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
    if not prefix and hasattr(module, 'archs'):
        found = {key: value for key, value in found.items() if not is_head(key)}
    problem = 'the checkpoint does not fit this model'
    if not found and {key.removeprefix(above) for key in own} <= {*others}:
        raise InputError(f'{problem}: it is a backbone alone{_BACKBONE_ALONE}')
    uncounted = _uncounted(own, found)
    expected = {key: shape for key, shape in own.items() if key not in uncounted}
    check_shapes(found | {key: torch.empty(0) for key in others}, expected, problem, type(module))


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
    return _backbone_shapes(network, arch, in_channels).copy()  # type: ignore[arg-type]


@cache  # which saves a third of a second for each checkpoint that does not fit
def _backbone_shapes(network: Any, arch: str, in_channels: int) -> dict[str, torch.Size]:
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


def _uncounted(own: Iterable[str], state: Collection[str]) -> list[str]:
    """Return the counts of batches that norms lack: they need not know, says PyTorch as well."""
    count, mean = 'num_batches_tracked', 'running_mean'
    return [
        key
        for key in own
        if key.endswith(f'.{count}')
        and key not in state
        and key.removesuffix(count) + mean in state
    ]


def _first(keys: Iterable[str]) -> str:
    names = sorted(keys)
    return ', '.join(names[:3] + ['...'] * (len(names) > 3))


def _wrapper(content: Mapping[str, Any]) -> str:
    """Return the name under which a training run saved the weights, or ''."""
    known = next((k for k in _WRAPPERS if content.get(k) and isinstance(content[k], dict)), '')
    if known or any(isinstance(value, Tensor) for value in content.values()):
        return known
    others = [
        str(key)
        for key, value in content.items()
        if isinstance(value, dict) and any(isinstance(part, Tensor) for part in value.values())
    ]
    return others[0] if len(others) == 1 else ''


def _plain(key: object) -> str:
    """Return a name without what torch.compile has put into it."""
    return _COMPILED.sub(r'\1', str(key))


def _say_left_out(checkpoint: str, prefix: str, names: Iterable[str]) -> None:
    others = [name for name in names if not name.startswith(prefix)]
    if others:
        print_log(
            f'{checkpoint}: {len(others)} tensors beside those under {prefix!r} are left out '
            f'({_first(others)})',
            'current',
            logging.WARNING,
        )


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that averages and wrappers, in each other, may have given to names."""
    names, found = [*names], ['']
    for prefix in found:
        longer = [prefix + owner for owner in _OWNERS]
        found += [p for p in longer if any(name.startswith(p) for name in names)]
    return [*_AVERAGES, *reversed(found)]


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_edgenext(filename: str, map_location: object = None) -> dict[str, Any]:
    """Let mmengine load ``edgenext://`` names."""
    content = read_checkpoint(filename)
    weights = weights_of_cvnets(content)
    return {'state_dict': weights or content.get(_wrapper(content), content)}


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: object = None) -> Any:
    """Let mmengine load local files: as ever, but with errors that say what is wrong with one.

    The names of tensors come without what torch.compile, and in a file of Lightning also the
    module there, has put before them.

    Raises:
        InputError: if there is no such file, or if it is no whole checkpoint or holds a model with
            its code.
    """
    content = read_as_checkpoint(
        filename, lambda path: mmengine_load_from_local(path, map_location=map_location)
    )
    if isinstance(content, nn.Module):
        raise InputError(
            f'{filename} holds a {type(content).__name__}, code and all: save its weights alone, '
            'torch.save(model.state_dict(), FILE)'
        )
    if isinstance(content, Tensor):  # such as embeddings, which are no model's weights
        return content
    if not isinstance(content, dict):
        raise InputError(f'{filename} holds no state dict, but a {type(content).__name__}')
    wrapper = _wrapper(content)
    weights = content[wrapper] if wrapper else content
    state = {_plain(key): value for key, value in weights.items()}
    if 'pytorch-lightning_version' in content:
        owner = next(p for p in _prefixes(state) if 2 * len(_below(state, p)) > len(state))
        _say_left_out(filename, owner, state)
        state = _below(state, owner)
    if wrapper not in ('', 'state_dict') or state.keys() != weights.keys():
        content = {**content, 'state_dict': state} if wrapper else state  # mmengine's name
    if content and all(isinstance(value, Tensor) for value in content.values()):
        content = {'state_dict': content}
    content.setdefault('meta', {})  # which mmseg's init_model looks into
    return content
