"""What runs log to beside the files of the work directory."""

import re
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import RUNNERS
from short_runs import build
from small_networks import TASKS

from edgenext_mm.errors import InputError

LOGGED = {'loss', 'lr', 'acc'}


@pytest.fixture
def configured(run_tool, monkeypatch):
    """The config with which tools/train.py starts a run."""

    def configure(task, *options):
        found = []
        with monkeypatch.context() as patch:
            run = SimpleNamespace(train=lambda: None)
            patch.setattr(RUNNERS, 'build', lambda cfg: found.append(cfg) or run)
            run_tool('train.py', TASKS[task][0], '--tensorboard', *options)
        return found[0]

    return configure


def train(folder, cfg):
    """Train a short run that logs as a config says."""
    build(
        folder,
        validate=True,
        visualizer=cfg.visualizer,
        default_scope=cfg.default_scope,
        cfg=Config(dict(work_dir=str(folder))),
    ).train()


@pytest.mark.parametrize('task', TASKS)
def test_tensorboard(configured, tmp_path, task):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, configured(task))
    (folder,) = tmp_path.glob('*/vis_data')
    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()['scalars']) >= LOGGED
    assert [event.step for event in events.Scalars('lr')] == [8, 16, 24]
    assert [event.step for event in events.Scalars('acc')] == [1, 2, 3]
    assert (folder / 'scalars.json').is_file()  # for tools/analysis/plot_run.py


def test_once(configured):
    backends = [dict(type='TensorboardVisBackend')]
    cfg = configured('detection', '--cfg-options', f'vis_backends={backends}')
    assert cfg.visualizer.vis_backends == backends


def test_config_that_logs_to_nothing(configured):
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    assert configured('detection', '--cfg-options', 'visualizer=None').visualizer == dict(
        type='Visualizer', vis_backends=backends
    )


def test_package_that_is_missing(configured, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with pytest.raises(InputError, match=r'TensorboardVisBackend .* cannot start: .*pip install'):
        train(tmp_path, configured('detection'))
    assert not [*tmp_path.glob('*.pth')]


def of_docs(backend):
    """The setting of a config that docs/analysis.md has for a service."""
    page = (ROOT / 'docs' / 'analysis.md').read_text()
    (block,) = (x for x in re.findall(r'```python\n(.*?)```', page, re.S) if backend in x)
    return Config.fromstring(block, '.py').visualizer


@pytest.mark.parametrize('package', ['wandb', 'mlflow'])
def test_other_services(monkeypatch, tmp_path, package):
    service = MagicMock()
    monkeypatch.setitem(sys.modules, package, service)
    backend = {'wandb': 'WandbVisBackend', 'mlflow': 'MLflowVisBackend'}[package]
    visualizer = dict(of_docs(backend), type='Visualizer')
    train(tmp_path, Config(dict(default_scope='mmengine', visualizer=visualizer)))
    if package == 'wandb':
        assert service.init.call_args.kwargs['project'] == 'birds'
        logged = service.log.call_args_list
    else:
        service.set_experiment.assert_called_with('birds')
        logged = service.log_metrics.call_args_list
    assert {name for call in logged for name in call.args[0]} >= LOGGED
