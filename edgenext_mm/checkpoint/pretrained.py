"""Loading of the reference implementation's ImageNet checkpoints."""

import argparse
import os
import os.path as osp
import pickle
from http.client import HTTPException

import torch

from ..errors import InputError

# Where training runs of the reference keep their weights, the averaged ones first.
_WRAPPERS = ('model_ema', 'model', 'state_dict')
_CLASSIFIER = ('norm.', 'head.')

# They also hold their command line. Before PyTorch 2.5, which cannot be told so, they are refused.
if hasattr(torch.serialization, 'add_safe_globals'):
    torch.serialization.add_safe_globals([argparse.Namespace])


def load_pretrained(backbone, checkpoint):
    """Load a reference checkpoint into a backbone, all of its weights or none.

    Args:
        backbone (EdgeNeXt): the model. Its output norms, which no checkpoint of a classifier
            holds, keep their values.
        checkpoint (str): path or URL. Downloads are kept in torch hub's cache.

    Raises:
        InputError: if the checkpoint cannot be read or downloaded, with where to put it, if it
            holds more than tensors and plain values, or if its weights are not exactly those of
            the backbone.
    """
    state = _read(checkpoint)
    state = next((state[key] for key in _WRAPPERS if key in state), state)
    state = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}

    own = backbone.state_dict()
    expected = {key: value.shape for key, value in own.items() if not key.startswith('out_norms.')}
    got = {key: value.shape for key, value in state.items()}
    wrong = {key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key)}
    if wrong:
        raise InputError(
            f'{checkpoint} does not fit this backbone: {len(wrong)} tensors are missing, '
            f'unexpected or of another shape, such as {", ".join(sorted(wrong)[:3])}. '
            'Is it the checkpoint of another arch?'
        )
    backbone.load_state_dict(state, strict=False)


def _read(checkpoint):
    path = checkpoint
    if '://' in checkpoint:
        path = osp.join(torch.hub.get_dir(), 'checkpoints', osp.basename(checkpoint))
    try:
        if path != checkpoint and not osp.isfile(path):
            os.makedirs(osp.dirname(path), exist_ok=True)
            torch.hub.download_url_to_file(checkpoint, path)
        return torch.load(path, 'cpu', weights_only=True)
    except (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).split('\n')[0]
        raise InputError(
            f'cannot get the pretrained weights {checkpoint} ({reason}). Put the file, whole, '
            f'at {path}, or train without it: --cfg-options model.backbone.init_cfg=None'
        ) from error
