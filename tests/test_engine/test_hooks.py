import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
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


COUNT_PAGE_FAULTS = """
import resource
import sys
import torch
from edgenext_mm.engine import KeepMemoryHook

if sys.argv[1] == 'keep':
    KeepMemoryHook().before_train(None)
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(64 << 20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc' or torch.cuda.is_available(), reason='for glibc and CPUs'
)
def test_keeps_memory():
    def page_faults(argument):
        command = [sys.executable, '-c', COUNT_PAGE_FAULTS, argument]
        output = subprocess.check_output(command, text=True)
        return int(output.splitlines()[-1])

    assert page_faults('keep') < 0.1 * page_faults('return')
