"""Loading of the reference implementation's ImageNet checkpoints."""

import os.path as osp

import torch
from mmengine.runner import CheckpointLoader

from ..errors import InputError

# Where training runs of the reference keep their weights, the averaged ones first.
_WRAPPERS = ('model_ema', 'model', 'state_dict')
_CLASSIFIER = ('norm.', 'head.')


def load_pretrained(backbone, checkpoint):
    """Load a reference checkpoint into a backbone, all of its weights or none.

    Args:
        backbone (EdgeNeXt): the model. Its output norms, which no checkpoint of a classifier
            holds, keep their values.
        checkpoint (str): path or URL. mmengine keeps downloads in torch hub's cache.

    Raises:
        InputError: if the checkpoint cannot be read or downloaded, with where to put it, or if its
            weights are not exactly those of the backbone.
    """
    try:
        state = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', logger='silent')
    except OSError as error:
        cached = osp.join(torch.hub.get_dir(), 'checkpoints', osp.basename(checkpoint))
        raise InputError(
            f'cannot get the pretrained weights {checkpoint} ({error}). Download the file on '
            f'another machine and put it at {cached}, or train without it: '
            '--cfg-options model.backbone.init_cfg=None'
        ) from error
    state = next((state[key] for key in _WRAPPERS if key in state), state)
    state = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}

    expected = {
        key: value for key, value in backbone.state_dict().items() if 'out_norms.' not in key
    }
    wrong = expected.keys() ^ state.keys()
    wrong |= {
        key for key in expected if key not in wrong and expected[key].shape != state[key].shape
    }
    if wrong:
        raise InputError(
            f'{checkpoint} does not fit this backbone: {len(wrong)} tensors are missing, '
            f'unexpected or of another shape, such as {", ".join(sorted(wrong)[:3])}. '
            'Is it the checkpoint of another arch?'
        )
    backbone.load_state_dict(state, strict=False)
