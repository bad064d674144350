import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from edgenext_mm.datasets.demo import make_demo_data

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs' / 'detection'
SEG_CONFIGS = ROOT / 'configs' / 'segmentation'
CLS_CONFIGS = ROOT / 'configs' / 'classification'


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory):
    """A small demo data set in the layouts of COCO, VOC and ImageNet."""
    root = tmp_path_factory.mktemp('data') / 'demo'
    make_demo_data(root, train=32, val=8)
    return root


@pytest.fixture
def run_tool(monkeypatch, tmp_path, demo_data):
    """Run a tool of the repository in this process, as from a command line in an empty folder."""

    def run(name, *args, data_root=demo_data):
        monkeypatch.chdir(tmp_path)
        for variable, value in data_roots(data_root).items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        return runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    return run


def data_roots(folder):
    """Environment variables for the demo data in a folder."""
    return {
        'COCO_ROOT': str(folder),
        'VOC_ROOT': f'{folder}/VOC2012' if folder else '',
        'IMAGENET_ROOT': f'{folder}/imagenet' if folder else '',
    }


def start_process(*command, cwd, data_root):
    """Start a command whose ``python`` is this one, for what needs a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    env = dict(os.environ, **data_roots(data_root), PATH=path)
    return subprocess.Popen(
        [*map(str, command)],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
