"""The names that other implementations have for the parameters of EdgeNeXt.

Each family is a list of substitutions that turn our names, which are the reference's, into its own.
"""

import re

_TIMM = [
    (r'^stages\.(\d+)\.', r'stages.\1.blocks.'),
    (r'^downsample_layers\.0\.', 'stem.'),
    (r'^downsample_layers\.(\d)\.', r'stages.\1.downsample.'),
    (r'\.dwconv\.', '.conv_dw.'),
    (r'\.pwconv(\d)\.', r'.mlp.fc\1.'),
    (r'^head\.', 'head.fc.'),
    (r'^norm\.', 'head.norm.'),
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
    (r'^head\.', 'head.fc.'),
    (r'^norm\.', 'norm3.'),
]
FAMILIES = {'reference': [], 'timm': _TIMM, 'mmpretrain': _MMPRETRAIN}


def rename(key, family):
    """Return the name of one of our parameters in a family.

    Args:
        key (str): a name in the state dict of our backbone, or ``norm.*`` or ``head.*`` of the
            reference's classifier.
        family (str): a key of :data:`FAMILIES`.
    """
    for pattern, replacement in FAMILIES[family]:
        key = re.sub(pattern, replacement, key)
    return key


def to_our_names(state, keys):
    """Give the tensors of a state dict our names.

    Args:
        state (dict[str, Tensor]): a state dict of any of the families.
        keys (Iterable[str]): the names that are expected.

    Returns:
        dict[str, Tensor]: the same tensors; those that no expected name stands for keep theirs.
    """
    tables = [{rename(key, family): key for key in keys} for family in FAMILIES]
    table = max(tables, key=lambda table: len(table.keys() & state.keys()))
    return {table.get(key, key): value for key, value in state.items()}
