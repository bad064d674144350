"""The command lines of all tools; what each does is tested beside the package's modules."""

import os
import runpy
import subprocess
import sys

import pytest
from conftest import CLS_CONFIGS, CONFIGS, ROOT, data_roots

from edgenext_mm.checkpoint.families import FAMILIES
from edgenext_mm.deploy.convert import SAFETENSORS

TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.py'))
HEAVY = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'matplotlib', 'cv2', 'numpy'}


@pytest.mark.parametrize('tool', TOOLS)
@pytest.mark.parametrize(('option', 'status'), [('--help', 0), ('--no-such-option', 2)])
def test_answers_before_it_imports(tool, option, status):
    command = [sys.executable, '-X', 'importtime', ROOT / tool, option]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == status, run.stderr
    assert 'usage: ' in run.stdout + run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith('import time:')]
    names = {line.rpartition('|')[2].strip() for line in lines}
    assert 'edgenext_mm.errors' in names
    assert not {name.partition('.')[0] for name in names} & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tool', 'arguments'),
    [
        ('get_complexity.py', [CONFIGS / 'ssdlite_edgenext_xx_small_coco.py']),
        (
            'benchmark.py',
            [
                *(CLS_CONFIGS / 'edgenext_xx_small_imagenet.py', '--batch-sizes', 1),
                *('--shape', 64, 64, '--runs', 2, '--peers', 'mmpretrain'),
            ],
        ),
        ('check_dataset.py', [CONFIGS / 'ssdlite_edgenext_xx_small_demo.py']),
    ],
)
def test_prints_its_table_alone(tool, arguments, demo_data, tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / 'tools' / tool, *map(str, arguments)],
        cwd=tmp_path,
        env=os.environ | data_roots(demo_data),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    titles = ('`tools/benchmark.py', 'train: ', 'val: ', 'wrote ', 'Training can start.')
    lines = [line for line in run.stdout.splitlines() if line]
    assert [line for line in lines if not line.startswith(('| ', '|---', *titles))] == []
    assert [line for line in lines if line.startswith('| ')]
    if tool != 'check_dataset.py':  # which has a progress bar
        assert run.stderr == ''


def test_names_of_conversions():
    names = runpy.run_path(str(ROOT / 'tools' / 'convert_checkpoint.py'))['NAMES']
    assert list(names) == [*FAMILIES, SAFETENSORS]
