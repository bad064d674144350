"""Checkpoints without what only training needs, from the command line."""

import hashlib

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer


def test_publishes_the_weights(run_tool, tmp_path, capsys):
    weights = {'backbone.weight': torch.arange(3.0)}
    meta = dict(cfg='model = dict()', dataset_meta=dict(classes=('cat',)), epoch=3, seed=0)
    content = {
        'state_dict': weights,
        'ema_state_dict': weights,
        'optimizer': {'state': {}},
        'message_hub': {'log_scalars': {'loss': HistoryBuffer([1.0], [1])}, 'other': np.ones(2)},
        'meta': meta,
    }
    torch.save(content, tmp_path / 'epoch_3.pth')
    for name in ('detector', 'detector.pth'):
        run_tool('publish_model.py', tmp_path / 'epoch_3.pth', tmp_path / name)
    (path,) = tmp_path.glob('detector*')
    assert str(path) in capsys.readouterr().out
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'detector-{digest[:8]}.pth'
    published = torch.load(path, weights_only=True)
    assert published.keys() == {'state_dict', 'meta'}
    assert torch.equal(published['state_dict']['backbone.weight'], torch.arange(3.0))
    assert published['meta'] == {key: meta[key] for key in ('cfg', 'dataset_meta')}

    torch.save(weights, tmp_path / 'weights.pth')
    with pytest.raises(SystemExit, match=r'weights\.pth has no state_dict'):
        run_tool('publish_model.py', tmp_path / 'weights.pth', tmp_path / 'other')
    assert not [*tmp_path.glob('other*')]
