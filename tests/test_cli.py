import os
import subprocess
import sys

import pytest
from conftest import CONFIGS
from mmengine.config import Config, DictAction

from edgenext_mm import cli
from edgenext_mm.errors import InputError

DEMO = str(CONFIGS / 'ssdlite_edgenext_xx_small_demo.py')


def test_overrides_are_those_of_mmengine(demo_data, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(demo_data))
    words = ['train_cfg.max_epochs=3', 'a=None', 'b=[(1,2),x]', 'model.backbone.out_indices=2,3']
    words += ['train_dataloader.dataset.pipeline.0.imdecode_backend=cv2', 'c=x=y']
    words += ['optim_wrapper.optimizer.lr=1', 'optim_wrapper.optimizer._delete_=True']
    parser = cli.config_parser(None)
    cfg = cli.load_config(parser.parse_args([DEMO, '--cfg-options', *words]))
    theirs = cli.config_parser(None)
    theirs.add_argument('--theirs', nargs='+', action=DictAction)
    expected = Config.fromfile(DEMO)
    expected.merge_from_dict(theirs.parse_args([DEMO, '--theirs', *words]).theirs)
    assert cfg.to_dict() == expected.to_dict() and cfg.b == [(1, 2), 'x']
    twice = [DEMO, '--cfg-options', 'a=1', 'b=1', '--cfg-options', 'a=2']
    cfg = cli.load_config(parser.parse_args(twice))
    assert (cfg.a, cfg.b) == (2, 1)


def test_malformed_overrides(demo_data, monkeypatch, capsys):
    monkeypatch.setenv('COCO_ROOT', str(demo_data))
    parser = cli.config_parser(None)
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args([DEMO, '--cfg-options', 'a=1', 'b'])
    assert "'b' is not of the form KEY=VALUE" in capsys.readouterr().err
    for word, message in {
        'a=[1,2': 'Imbalanced brackets exist in ',
        'train_cfg.max_epochs.a=1': 'max_epochs',
        'train_dataloader.dataset.pipeline.99.a=1': 'Index 99 exceeds the length',
    }.items():
        with pytest.raises(InputError) as error:
            cli.load_config(parser.parse_args([DEMO, '--cfg-options', word]))
        assert str(error.value).startswith(f'--cfg-options {word}: ') and message in str(error)


SPINS = {'GOMP_SPINCOUNT': str(cli.SPIN_COUNT)}
SLEEPS = {'OMP_WAIT_POLICY': 'PASSIVE'}


@pytest.mark.parametrize(
    ('environment', 'busy', 'expected'),
    [
        ({}, 0.0, SPINS),
        ({}, 20.0, SPINS),
        ({}, 30.0, SLEEPS),
        ({'OMP_NUM_THREADS': '1'}, 100.0, {'OMP_NUM_THREADS': '1', **SLEEPS}),
        ({'GOMP_SPINCOUNT': '7'}, 100.0, {'GOMP_SPINCOUNT': '7'}),
        ({'OMP_WAIT_POLICY': 'ACTIVE'}, 100.0, {'OMP_WAIT_POLICY': 'ACTIVE'}),
        ({'KMP_BLOCKTIME': '0'}, 0.0, {'KMP_BLOCKTIME': '0'}),
    ],
)
def test_shares_processors(monkeypatch, capsys, environment, busy, expected):
    """With two of them, of which ``busy`` percent are; what the user has set stays."""
    monkeypatch.setattr('psutil.cpu_count', lambda: 2)
    monkeypatch.setattr('psutil.cpu_percent', lambda interval: busy)
    monkeypatch.setattr(os, 'environ', dict(environment))
    cli.share_processors()
    assert os.environ == expected
    said = capsys.readouterr().err
    assert ('shares them' in said) == ('PASSIVE' in expected.values())


SCRIPT = """
import argparse, logging, sys, warnings
from edgenext_mm.cli import parse_args
parse_args(argparse.ArgumentParser(), trains=True)
from mmengine.logging import MMLogger, print_log
warnings.warn('faster_coco_eval is not installed, and that is all')
print_log('noise', level=logging.DEBUG)
print_log('noise', logger='current')
warnings.warn('a warning')
print_log('a message')
print_log('a warning of mmengine', logger='current', level=logging.WARNING)
MMLogger.get_instance('run').warning('"FileClient" will be deprecated, noise')
print_log('the log of a Runner', logger='current')
"""


def test_silences_noise_alone_and_sets_threads_in_time():
    """libgomp says what settings it has when PyTorch loads it, beside a process or none."""
    unset = ('OMP_', 'GOMP_', 'KMP_')
    env = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    env['OMP_DISPLAY_ENV'] = 'VERBOSE'
    command = [sys.executable, '-c', SCRIPT]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    alone = f"GOMP_SPINCOUNT = '{cli.SPIN_COUNT}'" in run.stderr
    assert alone != ('this run shares them' in run.stderr)
    assert 'a warning' in run.stderr and 'faster_coco_eval' not in run.stderr
    assert 'noise' not in run.stdout
    for message in ('a message', 'a warning of mmengine', 'the log of a Runner'):
        assert message in run.stdout
