import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmengine.config import Config, DictAction
from mmengine.infer import BaseInferencer
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import SequentialSampler

from edgenext_mm import cli
from edgenext_mm.errors import InputError, exit_on_input_error

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


def load(config, *words):
    options = ['--cfg-options', *words] if words else []
    return cli.load_config(cli.config_parser(None).parse_args([config, *options]))


def scales(cfg):
    """The sizes of images in all pipelines."""
    loaders = [cfg[f'{name}_dataloader'] for name in ('train', 'val', 'test')]
    steps = [step for loader in loaders for step in loader.dataset.pipeline]
    steps += cfg.tta_pipeline[1].transforms[0]
    return [step.scale for step in steps if step.type == 'Resize']


@pytest.mark.parametrize('config', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ('word', 'size'),
    [
        ('input_size=512', 512),
        ('input_size=640,384', (640, 384)),
        ('input_size=(640, 384)', (640, 384)),
    ],
)
def test_one_setting_for_the_size(config, word, size):
    cfg = load(str(config), word)
    assert scales(cfg) == [size] * 4
    assert cfg.filename == str(config)


def test_overrides_reach_what_is_computed_from_them(monkeypatch):
    monkeypatch.delenv('COCO_ROOT', raising=False)
    config = str(CONFIGS / 'ssdlite_edgenext_small_coco.py')
    cfg = load(config, 'max_epochs=7', 'num_workers=0', 'train_cfg.val_interval=3', 'new=1')
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].T_max == cfg.max_epochs == 7
    assert cfg.train_dataloader.num_workers == cfg.test_dataloader.num_workers == 0
    assert cfg.train_cfg.val_interval == 3 and cfg.new == 1
    # Nothing else changes.
    assert load(config, 'max_epochs=200').to_dict() == Config.fromfile(config).to_dict()


def test_variables_of_configs_that_inherit(tmp_path):
    (tmp_path / 'base.py').write_text("size = 3\npath = '{{ fileDirname }}/x'\na = dict(size=size)")
    child = tmp_path / 'child.py'
    child.write_text("_base_ = ['./base.py']\nb = [_base_.size, '{{ $NONE:x }}']\nname = 'n'")
    cfg = load(str(child), 'size=5', 'name=m', 'a.more=1')
    assert cfg.to_dict() == dict(
        size=5, path=f'{tmp_path}/x', a=dict(size=5, more=1), b=[5, 'x'], name='m'
    )
    # Likewise a part of one, but for settings that a Runner reads where they stand.
    child.write_text("_base_ = 'base.py'\nb = _base_.a\nval_cfg = dict(x=1)\ntest_cfg = val_cfg")
    cfg = load(str(child), 'size=5', 'a.size=7', 'a.more=1', 'val_cfg.x=2')
    assert cfg.a == cfg.b == dict(size=7, more=1) and (cfg.val_cfg.x, cfg.test_cfg.x) == (2, 1)
    # Where bases cannot be computed again the override is mmengine's.
    child.write_text("_base_ = ['base' + '.py']\nb = _base_.size")
    assert load(str(child), 'size=5').a.size == 3


def test_configs_of_the_package(tmp_path, monkeypatch):
    """By name in any folder, and as bases, in which overrides reach what is computed."""
    monkeypatch.chdir(tmp_path)
    name = 'edgenext_mm::detection/ssdlite_edgenext_xx_small_demo.py'
    assert load(name).to_dict() == Config.fromfile(DEMO).to_dict()
    assert 'ssdlite_edgenext_small_coco' in BaseInferencer.list_models('edgenext_mm')
    mine = tmp_path / 'mine.py'
    mine.write_text(f'_base_ = [{name!r}]')
    assert scales(load('mine.py', 'input_size=512')) == [512] * 4
    assert '_scope_' not in str(load('mine.py'))  # in which types of mmdet would not be found
    wrong = 'edgenext_mm::detection/ssdlite_edgenext_small.py'
    mine.write_text(f'_base_ = {wrong!r}')
    for config in (wrong, 'mine.py'):
        with pytest.raises(InputError, match=rf'no config {wrong} \(did you mean edgenext_mm::det'):
            load(config)


def test_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(cli, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='needs mmdet, which is not installed: edgenext-mm doctor'):
        load(DEMO)


ENVIRONMENT = '{{$A:b}}'  # which mmengine replaces in any file
NAMES = [
    "it's",
    'two words',
    'D:\\new\\1table',
    '{a} {{b}}',
    'say "x"',
    'ünï',
    '(1) [x',
    '{{$A:b}}',
]


@pytest.mark.parametrize('name', NAMES)
def test_any_text_is_a_path(name, tmp_path, monkeypatch):
    root = f'{tmp_path}/{name}/'
    for variable in ('COCO_ROOT', 'VOC_ROOT', 'IMAGENET_ROOT'):
        monkeypatch.setenv(variable, root)
    for config in (
        CONFIGS / 'ssdlite_edgenext_small_coco.py',
        SEG_CONFIGS / 'deeplabv3_edgenext_small_voc.py',
        CLS_CONFIGS / 'edgenext_small_imagenet.py',
    ):
        cfg = Config.fromfile(config)
        datasets = [cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')]
        datasets += datasets[0].get('datasets', ())
        assert {dataset.data_root for dataset in datasets if 'data_root' in dataset} == {root}
        if name != ENVIRONMENT:
            again = Config.fromstring(cfg.pretty_text, '.py')
            assert again.val_dataloader.dataset.data_root == root
    if name == ENVIRONMENT:
        return
    monkeypatch.delenv('COCO_ROOT')
    key = 'val_dataloader.dataset.data_root'
    cfg = load(DEMO, f'{key}={root}', f'data_root={root}', f'a={name!r}')
    assert cfg.val_dataloader.dataset.data_root == cfg.data_root == root
    assert cfg.train_dataloader.dataset.data_root == root and cfg.a == name


def test_lists_of_texts():
    cfg = load(DEMO, "classes=('traffic light', 'kite')", 'b=[traffic,kite]', 'c={"x": (1, None)}')
    assert cfg.classes == ('traffic light', 'kite') and cfg.model.bbox_head.num_classes == 2
    assert cfg.b == ['traffic', 'kite'] and cfg.c == dict(x=(1, None))


def test_comma_in_a_path(tmp_path):
    folder = tmp_path / 'a,b'
    folder.mkdir()
    assert load(DEMO, f'a={folder}').a == str(folder)


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
        'max_epoch=3': 'the config has no max_epoch: did you mean max_epochs?',
        "custom_imports={'imports': ['no_such']}": 'no_such',  # fails where it is computed
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


@pytest.mark.slow
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


def raise_it():
    raise KeyboardInterrupt


def made_a_syntax_error():
    """As mmengine does where it formats a config."""
    try:
        raise_it()
    except:  # noqa: E722
        raise SyntaxError('Failed to format the config file') from None


def made_bad_input():
    try:
        made_a_syntax_error()
    except Exception as error:
        raise InputError('the config cannot be read') from error


def failed_to_clean_up():
    try:
        raise_it()
    finally:
        raise OSError('the folder is gone')


@pytest.mark.parametrize(
    'stop', [raise_it, made_a_syntax_error, made_bad_input, failed_to_clean_up]
)
def test_ctrl_c_is_one_line(capsys, stop):
    with pytest.raises(SystemExit) as end, exit_on_input_error():
        stop()
    assert end.value.code == 130 and capsys.readouterr().err == 'stopped by Ctrl-C\n'


def test_other_errors_stay():
    with pytest.raises(OSError, match='gone'), exit_on_input_error():
        raise OSError('the folder is gone')


def fails_in_a_hook():
    """mmengine's Runner raises another error in the place of it."""
    try:
        HOOKS.build(dict(type='LoggerHook', intervals=1))
    except TypeError as error:
        raise TypeError(f'{error} in a hook') from None


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (
            lambda: HOOKS.build(dict(type='LoggerHook', interval=0)),
            r'LoggerHook cannot be built .*ValueError: interval must .*hook\.py\): correct its',
        ),
        (
            lambda: HOOKS.build(dict(type='EMAHok')),
            'EMAHok cannot be built .*KeyError: EMAHok is not',
        ),
        (lambda: HOOKS.build(dict(interval=1)), r"\{'interval': 1\} cannot .* the key .type."),
        (
            lambda: Runner.build_dataloader(
                dict(batch_size=-1, dataset=[1], sampler=SequentialSampler([1]))
            ),
            'a dataloader cannot be built .*batch_size=-1',
        ),
        (fails_in_a_hook, "LoggerHook cannot be built .*'intervals'"),
        (lambda: Config().model, "the config lacks a setting .*'model'"),
        (Path('missing.txt').read_text, r'missing\.txt cannot be read or written \(No such file'),
    ],
)
def test_bad_settings_are_one_line(build, message):
    with pytest.raises(SystemExit, match=f'^error: {message}'), exit_on_input_error():
        build()


def test_reader_that_has_left(monkeypatch):
    """As ``head`` has, while the tool prints and at its end."""
    for size in (1, 100_000):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, 'w') as output, monkeypatch.context() as patch:
            patch.setattr(sys, 'stdout', output)
            with pytest.raises(SystemExit, match='141'), exit_on_input_error():
                print('x' * size)
