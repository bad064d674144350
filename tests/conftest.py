import faulthandler
import gc
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from _pytest.doctest import DoctestModule
from _pytest.faulthandler import fault_handler_stderr_fd_key
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin

from edgenext_mm.datasets.demo import make_demo_data

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs' / 'detection'
SEG_CONFIGS = ROOT / 'configs' / 'segmentation'
CLS_CONFIGS = ROOT / 'configs' / 'classification'


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Set up what is forked: a child that hangs would keep a run from its end, even if it failed.

    It holds the pipe by which xdist learns that a worker process has ended.
    """
    seconds = int(float(config.getini('faulthandler_timeout')))
    output = config.stash[fault_handler_stderr_fd_key]

    def after_fork():
        # What the parent has left for the garbage collector stays there: a session of ONNX Runtime
        # would wait for its threads, which the child has not.
        gc.freeze()
        # As faulthandler_timeout ends a test; its thread is not in the child either.
        faulthandler.register(signal.SIGALRM, output, chain=True)
        signal.alarm(seconds)

    os.register_at_fork(after_in_child=after_fork)


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory):
    """A small demo dataset in the layouts of COCO, VOC and ImageNet."""
    root = tmp_path_factory.mktemp('data') / 'demo'
    make_demo_data(root, train=32, val=8)
    return root


@pytest.fixture(scope='session', autouse=True)
def quick_runners():
    """Runners of this process leave out what takes them seconds and no test looks at."""
    with pytest.MonkeyPatch.context() as patch:
        be_quick(patch)
        yield


def be_quick(patch):
    """Leave out what formats the config, three times, and asks compilers for their versions.

    And the search for garbage, for each dataset among all that the tests import.
    """
    patch.setattr('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0))
    for place in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):  # mmengine 0.10.7 has its own
        name = f'{place}.FormatCode'
        patch.setattr(name, lambda text, **options: (text, True), raising=False)
    patch.setattr('mmengine.runner.runner.collect_env', dict)


@pytest.fixture(autouse=True)
def no_default_scope():
    """Leave no library's registry as the default one to what runs next, such as an example."""
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def signals_as_before():
    """A handler that stays would keep processes that are forked later from being terminated."""
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)]
    yield
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.fixture
def run_tool(monkeypatch, tmp_path, demo_data):
    """Run a tool of the repository in this process, as from a command line in an empty folder."""

    def run(name, *args, data_root=demo_data):
        return run_here(monkeypatch, name, *args, cwd=tmp_path, data_root=data_root)

    return run


def run_here(patch, name, *args, cwd, data_root):
    """Run a tool in this process; for a fixture that lives longer than one test."""
    # A Runner would write to the logger, the visualizer and the message hub of the one before.
    managed = [ManagerMixin]
    for cls in managed:
        cls._instance_dict.clear()
        managed += cls.__subclasses__()
    patch.chdir(cwd)
    for variable, value in data_roots(data_root).items():
        patch.setenv(variable, value)
    patch.setattr(sys, 'argv', [name, *map(str, args)])
    return runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')


def options(settings):
    """Return the command line's options for settings of a config."""
    return '--cfg-options', *(f'{key}={value}' for key, value in settings.items())


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for no examples in tests: a file that cannot be imported would be left out in silence.

    The search for them may skip what it cannot import, as it must in the package, and pytest then
    takes the half-imported module for a file without tests.
    """
    return [one for one in (yield) if not isinstance(one, DoctestModule)]


def pytest_collection_modifyitems(items):
    """Start with the files that take longest, for the workers to end at the same time."""
    slow = [item.path for item in items if item.get_closest_marker('slow')]
    # Last, those that load other runtimes, which bring threads of their own: tests that fork
    # workers come before.
    items.sort(key=lambda item: ('test_export' in item.path.parts, -slow.count(item.path)))


def text_for_another_folder(config):
    """Return the text of a config, with the whole paths of its bases."""
    return re.sub(r"'([\w./]+\.py)'", rf"'{config.parent}/\1'", config.read_text())


def data_roots(folder):
    """Environment variables for the demo data in a folder."""
    return {
        'COCO_ROOT': str(folder),
        'VOC_ROOT': f'{folder}/VOC2012' if folder else '',
        'IMAGENET_ROOT': f'{folder}/imagenet' if folder else '',
    }


def start_process(*command, cwd, data_root, stdout=subprocess.PIPE):
    """Start a command whose ``python`` is this one, for what needs a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    env = dict(os.environ, **data_roots(data_root), PATH=path)
    return subprocess.Popen(
        [*map(str, command)],
        cwd=cwd,
        env=env,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
    )
