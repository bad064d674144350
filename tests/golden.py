"""Deterministic weights and inputs for comparing an EdgeNeXt implementation with recorded outputs.

The arrays in edgenext_golden.npz were computed (float32, CPU) by the reference
implementation published with the paper, with every tensor of its state dict
replaced by ``tensor_for(key, shape)`` and the image ``image()`` as input.
keys.json lists, per model, the reference's state-dict keys and shapes.

Per model NAME the file holds, for the input of shape (1, 3, 64, 96) in eval mode:
  NAME/stage0 .. NAME/stage3   raw output of each stage, NCHW, before any final norm
  NAME/logits                  classifier output, (1, 1000)
"""

import zlib

import numpy as np
import torch


def tensor_for(key, shape, salt=''):
    """Return the float32 array (int64 for counters) that stands in for one state-dict entry."""
    rng = np.random.default_rng(zlib.crc32((salt + key).encode()))
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'num_batches_tracked':
        return np.zeros(shape, np.int64)
    if leaf == 'running_var':
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if leaf == 'running_mean':
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if leaf.startswith('gamma'):
        return (0.5 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    if leaf == 'temperature':
        return rng.uniform(0.8, 1.6, shape).astype(np.float32)
    if leaf == 'bias':
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if len(shape) == 1:
        return (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def image(height=64, width=96, salt=''):
    """Return the float32 input image, shape (1, 3, height, width)."""
    rng = np.random.default_rng(zlib.crc32(f'{salt}image{height}x{width}'.encode()))
    return rng.standard_normal((1, 3, height, width)).astype(np.float32)


def randomize(model):
    """Fill a model with the golden files' deterministic values, in which every layer matters."""
    state = {
        key: torch.from_numpy(np.asarray(tensor_for(key, value.shape)))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    model.eval()  # mmpretrain's EdgeNeXt returns None here
    return model


def assert_maps_close(maps, expected, tolerance=1e-4):
    for got, want in zip(maps, expected, strict=True):
        assert (got - want).abs().max() <= tolerance * want.std()
