"""What pip installs: requirements, the wheel, and its use in an empty folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT, data_roots

from edgenext_mm.analysis.doctor import DISTRIBUTIONS, EXTRAS, MODULES
from edgenext_mm.checkpoint.zoo import EXPERIMENTS, RELEASES

PYPROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())
PINS = (ROOT / 'requirements.txt').read_text().splitlines()
INSTALL = (ROOT / 'docs' / 'install.md').read_text()


def test_extras_have_the_tested_pins():
    """Each task brings its own library, and doctor knows what the tests run with."""
    extras = PYPROJECT['project']['optional-dependencies']
    assert extras['mmcv'] == [
        'edgenext_mm[train]',
        *(DISTRIBUTIONS[x][1] for x in ('mmengine', 'mmcv')),
    ]
    for library, extra in EXTRAS.items():
        assert extras[extra] == ['edgenext_mm[mmcv]', DISTRIBUTIONS[library][1]]
    assert {*extras['demo']} < {*(ROOT / 'requirements-demo.txt').read_text().splitlines()}
    upstream = (ROOT / 'requirements-upstream.txt').read_text().splitlines()
    for own, continued in DISTRIBUTIONS.values():
        assert own in upstream and continued in PINS
    assert [re.split('[>=]', name)[0] for name in extras['train']] == [*MODULES.values()]


def test_both_stacks_run_the_tests_with_the_same_tools():
    _, tools = (ROOT / 'requirements-upstream.txt').read_text().split('# tests\n')
    assert {'pytest', 'pytest-xdist'} < {tool.partition('==')[0] for tool in tools.split()}
    assert {*tools.split()} < {*PINS}


def test_types_are_checked_for_the_oldest_python():
    classifiers = PYPROJECT['project']['classifiers']
    versions = [item.rpartition(' ')[2] for item in classifiers if 'Python :: 3' in item]
    assert PYPROJECT['project']['requires-python'] == f'>={versions[0]}'
    assert PYPROJECT['tool']['mypy']['python_version'] == versions[0]


def test_a_device_gets_neither_pytorch_nor_openmmlab():
    project = PYPROJECT['project']
    extras = project['optional-dependencies']
    assert project['dependencies'] == ['numpy'] and extras['runtime'] == ['onnxruntime', 'pillow']
    assert any(name.startswith('torch') for name in extras['train'])


def test_model_index():
    """Models are listed with the weights and figures of the zoo, and with configs that exist."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    files = [yaml.safe_load((ROOT / path).read_text()) for path in index['Import']]
    models = {model['Name']: model for file in files for model in file['Models']}
    for file in files:
        names = {collection['Name'] for collection in file['Collections']}
        assert {model['In Collection'] for model in file['Models']} == names
    for name, release in RELEASES.items():
        model = models.pop(f'edgenext_{name}_imagenet')
        assert model['Config'] == f'configs/classification/edgenext_{release.recipe}_imagenet.py'
        assert model['Weights'] == release.url
        assert model['Results'][0]['Metrics'] == {'Top 1 Accuracy': release.top1}
        assert (ROOT / model['Config']).is_file()
    trained = {experiment.config for experiment in EXPERIMENTS if experiment.ours}
    assert {model['Config'] for model in models.values()} == {
        f'configs/{experiment.config}' for experiment in EXPERIMENTS
    }
    for model in models.values():
        assert ('Weights' in model) == (model['Config'].removeprefix('configs/') in trained)
        assert model['Config'].endswith(f'/{model["Name"]}.py')


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The folder into which a wheel of the repository is installed, alone."""
    folder = tmp_path_factory.mktemp('package')
    for name in ('configs', 'tools', 'edgenext_mm'):
        ignore = shutil.ignore_patterns('__pycache__', 'mine.py')
        shutil.copytree(ROOT / name, folder / 'source' / name, symlinks=True, ignore=ignore)
    for name in ('pyproject.toml', 'README.md', 'model-index.yml'):
        shutil.copy(ROOT / name, folder / 'source')
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    offline = ['--no-deps', '--no-index']
    for command in (
        ['wheel', *offline, '--no-build-isolation', '--wheel-dir', folder, folder / 'source'],
        [
            'install',
            *offline,
            '--target',
            folder / 'site',
            folder / 'edgenext_mm-0.1.0-py3-none-any.whl',
        ],
    ):
        subprocess.run([*pip, *command], check=True)
    shutil.rmtree(folder / 'source')
    return folder / 'site'


def run(site, folder, *command, root=''):
    """Run a command in a folder with the installed package, and return what it says."""
    env = os.environ | data_roots(root) | {'PYTHONPATH': str(site)}
    if not root:
        env = {name: value for name, value in env.items() if not name.endswith('_ROOT')}
    process = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


@pytest.mark.slow
def test_command(installed, tmp_path):
    """It lists the tools and passes on what follows, and needs no library for that."""
    script = installed / 'bin' / 'edgenext-mm'
    said = run(installed, tmp_path, sys.executable, '-X', 'importtime', script, '--help')
    for tool in (ROOT / 'tools').rglob('*.py'):
        assert (tool.read_text().split('"""')[1] in said) == (tool.stem != 'make_model_zoo')
    names = {line.rpartition('|')[2].strip() for line in said.splitlines() if '|' in line}
    assert 'edgenext_mm.__main__' in names
    assert not {name.partition('.')[0] for name in names} & {'numpy', 'torch', 'mmengine', 'psutil'}
    said = run(installed, tmp_path, sys.executable, '-m', 'edgenext_mm', 'train', '--help')
    assert said.startswith('usage: edgenext-mm train ') and '--auto-scale-lr' in said
    scripts = {path.name for path in (installed / 'edgenext_mm/.mim/tools').glob('*.sh')}
    assert scripts == {path.name for path in (ROOT / 'tools').glob('*.sh')}


NAMES = """
from pathlib import Path
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.infer import BaseInferencer
import edgenext_mm.configs
from edgenext_mm.configs import config_path

name = 'edgenext_mm::segmentation/deeplabv3_edgenext_xx_small_voc.py'
path = config_path(name)
assert Path(path).is_relative_to(Path(edgenext_mm.__file__).parent), path
base = Config.fromfile(path)
Path('mine.py').write_text(f"_base_ = {name!r}\\nload_image = _base_.load_image\\nmore = 1")
mine = Config.fromfile('mine.py')
assert mine.pop('more') == 1 and mine.to_dict() == base.to_dict() == get_config(name).to_dict()
assert '_scope_' not in str(mine)  # with which types of mmseg would not be found
models = BaseInferencer.list_models('edgenext_mm')
assert 'edgenext_small_usi_imagenet' in models, models
assert not Path('edgenext_mm').exists()
"""


@pytest.mark.slow
def test_configs_by_name(installed, tmp_path):
    run(installed, tmp_path, sys.executable, '-c', NAMES)


#: Trains by the command, where the libraries of other tasks cannot be imported.
TRAIN = """
import json, os, sys
import mmcv.transforms, mmengine.runner, torch
from edgenext_mm.__main__ import main

commands = json.loads(sys.argv[1])
for library, arguments in commands.items():
    if os.fork():
        assert os.wait()[1] == 0, library
        continue
    sys.modules.update(dict.fromkeys({*commands} - {library}))
    sys.argv[1:] = arguments
    main()
    if library == 'mmseg':  # the demo has less of a pipeline than the recipe
        from edgenext_mm.configs import config_path
        name = 'edgenext_mm::segmentation/deeplabv3_edgenext_small_voc.py'
        pipeline = mmengine.Config.fromfile(config_path(name)).train_pipeline
        assert 'GaussianBlur' in str(mmengine.dataset.Compose(pipeline))
    os._exit(0)
"""
TWO_ITERATIONS = {
    'mmdet': ['mine.py', 'input_size=64', 'max_epochs=1'],
    'mmseg': [
        'edgenext_mm::segmentation/deeplabv3_edgenext_xx_small_demo.py',
        *('size=64', 'max_iters=2'),
    ],
    'mmpretrain': [
        'edgenext_mm::classification/edgenext_xx_small_demo.py',
        *('max_epochs=1', 'train_dataloader.batch_sampler.sizes=[64]'),
    ],
}


@pytest.mark.slow
def test_task_needs_its_library_alone(installed, demo_data, tmp_path):
    """Two iterations of each demo; that of the detector by the config that the docs give."""
    (text,) = re.findall(r"```python\n(_base_ = 'edgenext_mm::.*?)```", INSTALL, re.S)
    assert 'edgenext_mm::detection/ssdlite_edgenext_xx_small_demo.py' in text
    (tmp_path / 'mine.py').write_text(text)
    for_all = [
        *('train_cfg.val_begin=9', 'default_hooks.logger.interval=1'),
        *('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
        *('train_dataloader.batch_size=2', 'train_dataloader.dataset.indices=4'),
        'train_dataloader.dataset.allow_missing_classes=True',
    ]
    commands = {
        library: ['train', config, f'--work-dir={library}', '--cfg-options', *settings, *for_all]
        for library, (config, *settings) in TWO_ITERATIONS.items()
    }
    said = run(
        installed, tmp_path, sys.executable, '-c', TRAIN, json.dumps(commands), root=demo_data
    )
    for library in TWO_ITERATIONS:
        (log,) = (tmp_path / library).glob('*/*.log')
        assert len(re.findall(r' loss: \d', log.read_text())) == 2, said
        assert (tmp_path / library / 'last_checkpoint').is_file()
