"""What an exported file says about itself, and what it takes from a config."""

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import InputError
from ..version import __version__

FORMAT = 1
"""Version of the description, which readers check."""

_VERSIONS = (
    'torch',
    'onnx',
    'onnxruntime',
    'openvino',
    'nncf',
    'executorch',
    'pnnx',
    'coremltools',
    'litert-torch',
)
_IGNORED = ('LoadAnnotations', 'PackDetInputs', 'PackSegInputs', 'PackInputs')
_KEYS = {
    'Resize': ('scale', 'keep_ratio', 'interpolation', 'backend'),
    'ResizeEdge': ('scale', 'edge', 'interpolation', 'backend'),
    'CenterCrop': ('crop_size',),
    'Pad': ('size_divisor',),
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    'Resize': dict(keep_ratio=False, interpolation='bilinear', backend='cv2'),
    'ResizeEdge': dict(edge='short', interpolation='bilinear', backend='cv2'),
}


def preparation(cfg: Config, size: Sequence[int] | None, free: bool) -> dict[str, Any]:
    """Return how images are prepared: input, mean, std and the steps of the test pipeline.

    Args:
        cfg: the config.
        size: height and width of the input in pixels, in the place of the config's.
        free: whether the file takes images of any size.

    Raises:
        InputError: if the pipeline has a step that the device's runtime does not have.
    """
    steps: list[dict[str, Any]] = []
    color_type: str | int = 'color'
    for transform in cfg.test_dataloader.dataset.pipeline:
        name = transform['type'].rpartition('.')[2]
        if name == 'LoadImageFromFile':
            color_type = transform.get('color_type', 'color')
        elif name in _KEYS:
            known = {'type', *_KEYS[name]}
            if extra := {key for key in transform if key not in known}:
                raise InputError(
                    f'{name} of the test pipeline has {", ".join(sorted(extra))}, which the '
                    f'predictor does not know: it knows {", ".join(_KEYS[name])}'
                )
            settings = _DEFAULTS.get(name, {}) | {
                key: transform[key] for key in _KEYS[name] if key in transform
            }
            for key in ('scale', 'crop_size'):
                if name in ('Resize', 'CenterCrop') and isinstance(settings.get(key), int):
                    settings[key] = (settings[key],) * 2
            steps.append({'type': name, **{k: _plain(v) for k, v in settings.items()}})
        elif name not in _IGNORED:
            raise InputError(
                f'the test pipeline has {transform["type"]}, which the predictor does not know: '
                f'it has {", ".join(_KEYS)}'
            )
    divisor = cfg.model.data_preprocessor.get('pad_size_divisor', 1)
    size = _fit_steps(steps, size, free, cfg.model.data_preprocessor.get('size'), divisor)
    channels = cfg.model.backbone.get('in_channels', 3)
    own = cfg.model.data_preprocessor
    if own.get('test_cfg'):
        raise InputError(
            f'data_preprocessor.test_cfg is {dict(own.test_cfg)}, and the predictor pads by '
            'pad_size_divisor alone: take it out'
        )
    mean = list(own.get('mean') or [0.0])
    std = list(own.get('std') or [1.0])
    swapped = color_type == 'color' and channels == 3
    if swapped and not (own.get('bgr_to_rgb') or own.get('to_rgb')):
        raise InputError(
            'the network takes its images in the order blue, green, red, and exported files take '
            'red, green, blue: set bgr_to_rgb of the data_preprocessor'
        )
    return {
        'input': {'size': size, 'channels': channels, 'color_type': color_type},
        'mean': mean * (channels if len(mean) == 1 else 1),
        'std': std * (channels if len(std) == 1 else 1),
        'prepare': steps,
    }


def _fit_steps(
    steps: list[dict[str, Any]],
    size: Sequence[int] | None,
    free: bool,
    trained: Sequence[int] | None,
    divisor: int,
) -> list[int] | None:
    """Give the steps the size of the input, and return it."""
    resize = next((step for step in steps if step['type'] == 'Resize'), None)
    crop = next((step for step in steps if step['type'] == 'CenterCrop'), None)
    if crop is not None:
        if size is not None:
            edge = next((step for step in steps if step['type'] == 'ResizeEdge'), None)
            if edge is not None:
                edge['scale'] = round(edge['scale'] * min(size) / min(crop['crop_size']))
            crop['crop_size'] = [size[1], size[0]]
        size = crop['crop_size'][::-1]
    elif resize is None:
        raise InputError('the test pipeline has no Resize or CenterCrop: which size is the input?')
    elif not resize['keep_ratio']:
        if size is not None:
            resize['scale'] = [size[1], size[0]]
        size = resize['scale'][::-1]
    elif not free:
        size = size or trained or [min(resize['scale'])] * 2
        ways = {key: resize[key] for key in ('interpolation', 'backend')}
        steps[steps.index(resize)] = {'type': 'Fit', 'size': [*size], **ways}
    elif size is not None:
        resize['scale'] = [max(resize['scale']) * min(size) // min(resize['scale']), min(size)]
    if divisor > 1:
        steps.append({'type': 'Pad', 'size_divisor': divisor})
        size = [-(-side // divisor) * divisor for side in size or ()]
    return None if free else [int(side) for side in size or ()]


def classes_and_palette(cfg: Config, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of the classes, and their colors if there are any.

    Args:
        cfg: the config.
        meta: ``meta`` of a checkpoint, whose names go before those of the config.
    """
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    of_type = DATASETS.get(dataset.type)
    info = {
        **{key.lower(): value for key, value in (getattr(of_type, 'METAINFO', None) or {}).items()},
        **{key.lower(): value for key, value in (dataset.get('metainfo') or {}).items()},
        **{k.lower(): v for k, v in (meta.get('dataset_meta') or {}).items()},
    }
    found: dict[str, Any] = {'classes': [str(name) for name in info.get('classes') or ()]}
    palette = info.get('palette')
    if palette and not isinstance(palette, str):  # a list may go on for classes of the dataset
        colors = palette[: len(found['classes'])]
        found['palette'] = [[int(value) for value in color] for color in colors]
    return found


def postprocessing(graph: Any) -> dict[str, Any]:
    """Return what is done with the boxes of a detector's file.

    Raises:
        InputError: if boxes are suppressed in a way that the predictor does not have.
    """
    test_cfg = graph.test_cfg
    if test_cfg.nms.get('type') != 'nms' or {*test_cfg.nms} != {'type', 'iou_threshold'}:
        raise InputError(
            f'model.test_cfg.nms is {dict(test_cfg.nms)}, and the predictor has type nms with an '
            'iou_threshold alone: set it so, or export with --raw'
        )
    found: dict[str, Any] = {
        'score_thr': test_cfg.get('score_thr', 0.0),
        'nms_pre': _limit(test_cfg.get('nms_pre', -1)),
        'iou_threshold': test_cfg.nms.iou_threshold,
        'max_per_img': _limit(test_cfg.get('max_per_img', -1)),
        'min_bbox_size': test_cfg.get('min_bbox_size', 0),
    }
    if graph.levels is not None:
        found['anchors'] = graph.levels
    else:
        found['anchor_cells'] = {'stride': graph.stride, 'per_cell': graph.per_cell}
    return found


def source(cfg: Config, weights: bytes) -> dict[str, Any]:
    """Return where a file comes from: config, weights and the versions of what made it."""
    versions = {'edgenext_mm': __version__}
    for package in _VERSIONS:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        'config': (cfg.filename or 'config').rpartition('/')[2].removesuffix('.py'),
        'config_sha256': hashlib.sha256(cfg.pretty_text.encode()).hexdigest(),
        'weights_sha256': hashlib.sha256(weights).hexdigest(),
        'versions': versions,
    }


def _limit(number: int) -> int | None:
    return number if number > 0 else None  # mmdet's -1


def _plain(value: Any) -> Any:
    return [*value] if isinstance(value, (list, tuple)) else deepcopy(value)
