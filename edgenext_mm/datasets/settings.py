"""The settings of a dataset, which a config may have with any value."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError

_TEXT, _SWITCH = (str, 'a text'), (bool, 'True or False')
_TEXTS = ((str, tuple, list), 'a text or a tuple of texts')
_DICT = ((Mapping, type(None)), 'a dict')

#: What a setting may be, as types and in words.
_TYPES: dict[str, tuple[Any, str]] = {
    'data_root': ((str, type(None)), 'a folder, as text'),
    'ann_file': _TEXT,
    'data_prefix': ((str, Mapping), 'a dict of folders, or a folder'),
    'metainfo': _DICT,
    'filter_cfg': _DICT,
    'backend_args': _DICT,
    'indices': ((int, list, tuple, type(None)), 'a number, or a list of numbers'),
    'pipeline': ((list, tuple), 'a list of transforms, as dicts'),
    'test_mode': _SWITCH,
    'lazy_init': _SWITCH,
    'serialize_data': _SWITCH,
    'reduce_zero_label': _SWITCH,
    'with_label': _SWITCH,
    'allow_missing_classes': _SWITCH,
    'img_suffix': _TEXTS,
    'seg_map_suffix': _TEXT,
    'extensions': ((list, tuple), 'a tuple of suffixes'),
    'ignore_index': (int, 'a number'),
    'max_refetch': (int, 'a number'),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check that the arguments of a dataset are of the types that it takes.

    Raises:
        InputError: naming the first that is not.

    Example:
        >>> check_settings(dict(ann_file='train.json', indices=8))
        >>> check_settings(dict(ann_file=['train.json']))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: ann_file of the dataset is ['train.json']: write a text
    """
    for name, value in settings.items():
        types, words = _TYPES.get(name, (object, ''))
        fits = isinstance(value, types) and (types is bool or not isinstance(value, bool))
        if name == 'pipeline':
            fits = fits and all(isinstance(step, Mapping) or callable(step) for step in value)
        elif name in ('indices', 'img_suffix', 'extensions') and isinstance(value, list | tuple):
            kind = int if name == 'indices' else str
            fits = fits and all(isinstance(item, kind) for item in value)
        elif name == 'data_prefix' and isinstance(value, Mapping):
            fits = fits and all(isinstance(folder, str | None) for folder in value.values())
        if not fits and types is not object:
            raise InputError(f'{name} of the dataset is {value!r:.100}: write {words}')
