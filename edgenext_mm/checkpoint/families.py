"""The names that other implementations have for the parameters of EdgeNeXt.

Each family is a list of substitutions that turn our names, which are those of a classifier with its
``backbone`` and ``head``, into its own.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

BACKBONE = 'backbone.'
#: The weights of the first convolution.
STEM = f'{BACKBONE}downsample_layers.0.0.weight'

_REFERENCE = [
    (r'^backbone\.', ''),
    (r'^head\.norm\.', 'norm.'),
    (r'^head\.fc\.', 'head.'),
]
_TIMM = [
    (r'^backbone\.', ''),
    (r'^stages\.(\d+)\.', r'stages.\1.blocks.'),
    (r'^downsample_layers\.0\.', 'stem.'),
    (r'^downsample_layers\.(\d)\.', r'stages.\1.downsample.'),
    (r'\.dwconv\.', '.conv_dw.'),
    (r'\.pwconv(\d)\.', r'.mlp.fc\1.'),
]
_MMPRETRAIN = [
    (r'\.dwconv\.', '.depthwise_conv.'),
    (r'\.pwconv(\d)\.', r'.pointwise_conv\1.'),
    (r'\.convs\.', '.conv_modules.'),
    (r'\.gamma_xca$', '.gamma_csa'),
    (r'\.norm_xca\.', '.norm_csa.'),
    (r'\.pos_embd\.token_projection\.', '.pos_embed.proj.'),
    (r'\.xca\.temperature$', '.csa.scale'),
    (r'\.xca\.', '.csa.'),
    (r'^head\.norm\.', 'backbone.norm3.'),
]
FAMILIES: dict[str, list[tuple[str, str]]] = {
    'edgenext_mm': [],
    'reference': _REFERENCE,
    'timm': _TIMM,
    'mmpretrain': _MMPRETRAIN,
}


def rename(key: str, family: str) -> str:
    """Return the name of one of our parameters in a family.

    Args:
        key: a name in the state dict of our classifier.
        family: a key of :data:`FAMILIES`.

    Example:
        >>> rename('backbone.stages.0.1.dwconv.weight', 'timm')
        'stages.0.blocks.1.conv_dw.weight'
    """
    for pattern, replacement in FAMILIES[family]:
        key = re.sub(pattern, replacement, key)
    return key


def to_our_names(state: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, Tensor]:
    """Give the tensors of a state dict the names of our classifier.

    Args:
        state: a state dict of any of the families, of a network or of the backbone alone.
        keys: the names that are expected.

    Returns:
        The same tensors. Those that no expected name stands for keep their names, below
        ``backbone.`` if the state dict has no such prefix itself.

    Example:
        >>> import torch
        >>> to_our_names({'head.weight': torch.ones(2)}, ['head.fc.weight'])
        {'head.fc.weight': tensor([1., 1.])}
    """
    tables: list[dict[str, str]] = []
    for family in FAMILIES:
        table = {rename(key, family): key for key in keys}
        tables += [table, {name.removeprefix(BACKBONE): key for name, key in table.items()}]
    table = max(tables, key=lambda table: len(table.keys() & state.keys()))
    above = '' if any(name.startswith(BACKBONE) for name in table) else BACKBONE
    return {
        table.get(key, key if key.startswith(above) else f'{above}{key}'): value
        for key, value in state.items()
    }


def is_head(key: str) -> bool:
    """Tell whether a name that :func:`to_our_names` gave is that of a classifier's head."""
    return key.startswith(_HEADS)


_HEADS = tuple(
    prefix + rename(key, family).removeprefix(BACKBONE)
    for prefix in ('', BACKBONE)
    for family in FAMILIES
    for key in ('head.norm.', 'head.fc.')
)
