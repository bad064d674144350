from types import SimpleNamespace

import pytest
import torch.nn as nn

from edgenext_mm.engine import NumClassesCheckHook
from edgenext_mm.errors import InputError


class Segmentor(nn.Module):
    """With a number of classes of its own, as mmseg's have."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.decode_head = nn.Module()
        self.decode_head.num_classes = num_classes


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize('wrappers', [0, 1, 2])
def test_names_the_key_of_the_config(wrappers):
    model = Segmentor(3)
    for _ in range(wrappers):
        model = Wrapper(model)

    def check(*classes):
        dataset = SimpleNamespace(metainfo=dict(classes=classes))
        runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=dataset))
        NumClassesCheckHook().before_test(runner)

    check('a', 'b', 'c')
    with pytest.raises(InputError, match=r'^model\.decode_head has num_classes=3 .* 2 classes'):
        check('a', 'b')
