"""The settings of a dataset, which a config may have with any name and value."""

import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.fileio import get_file_backend

from ..errors import InputError

_TEXT, _SWITCH = (str, 'a text'), (bool, 'True or False')
_SUFFIXES = ((str, tuple, list, type(None)), 'a suffix, or a tuple of suffixes')
_DICT = ((Mapping, type(None)), 'a dict')

#: What a setting may be, as types and in words.
_TYPES: dict[str, tuple[Any, str]] = {
    'data_root': ((str, os.PathLike, type(None)), 'a folder, as text'),
    'ann_file': _TEXT,
    'data_prefix': (Mapping, 'a dict of folders'),
    'metainfo': _DICT,
    'filter_cfg': (_DICT[0], 'a dict, filter_empty_gt as True or False and sizes in pixels'),
    'backend_args': _DICT,
    'indices': ((int, list, tuple, type(None)), 'a number, or a list of numbers'),
    'pipeline': ((list, tuple), 'a list of transforms, as dicts'),
    'test_mode': _SWITCH,
    'lazy_init': _SWITCH,
    'serialize_data': _SWITCH,
    'reduce_zero_label': _SWITCH,
    'with_label': _SWITCH,
    'allow_missing_classes': _SWITCH,
    'img_suffix': _SUFFIXES,
    'seg_map_suffix': _SUFFIXES,
    'extensions': ((list, tuple), 'a tuple of suffixes'),
    'ignore_index': (int, 'a number'),
    'max_refetch': (int, 'a number'),
}


def check_settings(dataset: type, settings: Mapping[str, Any]) -> None:
    """Check that a dataset has the settings, and that they are of the types that it takes.

    Args:
        dataset: its class.
        settings: arguments by name.

    Raises:
        InputError: naming the first that is not.

    Example:
        >>> from mmengine.dataset import BaseDataset
        >>> check_settings(BaseDataset, dict(ann_file='train.json', indices=8))
        >>> check_settings(BaseDataset, dict(ann_file=['train.json']))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: ann_file of the dataset is ['train.json']: write a text
        >>> check_settings(BaseDataset, dict(anno_file='train.json'))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: BaseDataset has no setting anno_file (did you mean ann_file?)
    """
    known = {
        name: parameter.default
        for cls in reversed(dataset.__mro__)
        if '__init__' in vars(cls)
        for name, parameter in inspect.signature(vars(cls)['__init__']).parameters.items()
    }
    for name, value in settings.items():
        if name not in known:
            similar = difflib.get_close_matches(name, known, 1)
            hint = f' (did you mean {similar[0]}?)' if similar else ': take it out'
            raise InputError(f'{dataset.__name__} has no setting {name}{hint}')
        if name in _TYPES:
            types, words = _TYPES[name]
            if name == 'data_prefix' and isinstance(known[name], str):  # mmpretrain's
                types = (str, types)
                if isinstance(value, Mapping) and 'img_path' not in value:
                    raise InputError(f'data_prefix of the dataset is {value!r}: set its img_path')
            if not _fits(value, types) or not all(_fits(*item) for item in _parts(name, value)):
                raise InputError(f'{name} of the dataset is {value!r:.100}: write {words}')
    if backend_args := settings.get('backend_args'):
        try:
            get_file_backend(backend_args=dict(backend_args))
        except Exception as error:  # of what a backend makes of its arguments
            raise InputError(
                f'backend_args of the dataset is {backend_args!r:.100}, of which mmengine makes no '
                f'file backend ({error}): correct it, or take it out for local files'
            ) from error


def _fits(value: Any, types: Any) -> bool:
    # True and False are numbers to Python.
    return isinstance(value, types) and (types is bool or not isinstance(value, bool))


def _parts(name: str, value: Any) -> list[tuple[Any, Any]]:
    """Return the parts of a value, each with its types."""
    if name == 'pipeline':
        return [(step, (Mapping, Callable)) for step in value]
    if name == 'data_prefix' and isinstance(value, Mapping):
        return [(folder, str) for folder in value.values()]
    if name == 'filter_cfg' and isinstance(value, Mapping):
        sizes = [(size, (int, float)) for key, size in value.items() if key.endswith('min_size')]
        return [*sizes, (value.get('filter_empty_gt', True), bool)]
    if name == 'indices' and isinstance(value, list | tuple):
        return [(index, int) for index in value]
    if name in ('img_suffix', 'seg_map_suffix', 'extensions') and isinstance(value, list | tuple):
        return [(suffix, str) for suffix in value]
    return []
