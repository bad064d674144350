"""The configs that come with the package, by names that hold in any folder.

``edgenext_mm::detection/ssdlite_edgenext_small_coco.py`` stands for the file of this name below
``configs/``: as the base of a config, and in the command lines. Importing this module makes such
names known to mmengine, whose list of packages is fixed.
"""

import difflib
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from .errors import InputError

PREFIX = 'edgenext_mm::'
_FOLDER = Path(__file__).parent / '.mim' / 'configs'


def config_path(name: str) -> str:
    """Return the path of a config that comes with the package.

    It is what the inferencers of mmdet, mmseg and mmpretrain take as the model, since names are
    looked up by each of them in its own package.

    Args:
        name: 'edgenext_mm::' and the path below ``configs/``.

    Raises:
        InputError: if there is no such config; the most similar name is suggested.

    Example:
        >>> from mmengine.config import Config
        >>> path = config_path('edgenext_mm::detection/ssdlite_edgenext_small_coco.py')
        >>> Config.fromfile(path).default_scope
        'mmdet'
        >>> config_path('edgenext_mm::detection/ssdlite_small.py')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: there is no config edgenext_mm::detection/ssdlite_small.py
        (did you mean edgenext_mm::detection/...
    """
    path = _FOLDER / name.removeprefix(PREFIX)
    if not path.is_file():
        known = [PREFIX + file.relative_to(_FOLDER).as_posix() for file in _FOLDER.glob('*/*.py')]
        similar = difflib.get_close_matches(name, known, 1)
        raise InputError(
            f'there is no config {name}{f" (did you mean {similar[0]}?)" * bool(similar)}'
        )
    return str(path)


_path_of_mmengine = Config._get_cfg_path


def _path_and_scope(base: str, filename: str) -> tuple[str, str | None]:
    """Find the base of a config, without a scope if it is ours.

    With a scope mmengine would look for all types of the base in it, and ours has none of mmdet's,
    mmseg's and mmpretrain's: 'Resize' would be mmcv's.
    """
    if base.startswith(PREFIX):
        return config_path(base), None
    return _path_of_mmengine(base, filename)


Config._get_cfg_path = staticmethod(_path_and_scope)
# For mmengine.hub, and for the names in model-index.yml.
MODULE2PACKAGE['edgenext_mm'] = 'edgenext_mm'
