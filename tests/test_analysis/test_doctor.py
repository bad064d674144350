"""What `edgenext-mm doctor` says of environments in any state."""

import os
import re
import sys
from importlib.metadata import version

import pytest
from conftest import data_roots

from edgenext_mm import __main__ as command
from edgenext_mm.analysis import doctor


def findings():
    return {finding.name: finding for finding in doctor.examine()}


@pytest.fixture
def whole(monkeypatch, demo_data, tmp_path):
    """Data in their folders and an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    for name, folder in data_roots(demo_data).items():
        monkeypatch.setenv(name, folder)


def test_whole(whole, tmp_path, capsys, monkeypatch):
    """All that the tests run with is there: no problem, and exit status 0."""
    (tmp_path / 'edgenext_small.pth').touch()
    monkeypatch.setenv('OMP_WAIT_POLICY', 'PASSIVE')
    monkeypatch.setattr(sys, 'argv', ['edgenext-mm', 'doctor'])
    command.main()
    said = capsys.readouterr().out
    assert 'PROBLEM' not in said and said.endswith('All that is needed is there.\n')
    for line in (
        f'ok +torch +{re.escape(version("torch"))}, built for ',
        r'ok +mmdet +\S+ 3',
        'ok +family +',
        'ok +mmcv.ops +compiled operators',
        'ok +threads .*OMP_WAIT_POLICY=PASSIVE',
        f'ok +COCO_ROOT +{os.environ["COCO_ROOT"]}',
        f'ok +EDGENEXT_CHECKPOINT_DIR +{tmp_path}',
        'ok +weights +small$',
    ):
        assert re.search(f'^{line}', said, re.M), line


def fake(monkeypatch, folder, name, text):
    """Put a package before the installed one."""
    (folder / f'{name}.py').write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_broken(whole, tmp_path, capsys, monkeypatch):
    """Each problem has its cure, and none ends the examination."""
    fake(monkeypatch, tmp_path, 'tqdm', 'raise SystemExit("no terminal")')
    fake(monkeypatch, tmp_path, 'mmseg', 'assert False, "mmcv is too new"')
    monkeypatch.setitem(sys.modules, 'psutil', None)
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path / 'weights'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'sealed'))
    monkeypatch.setenv('COCO_ROOT', '')
    monkeypatch.setenv('VOC_ROOT', str(tmp_path / 'tqdm.py'))
    (tmp_path / 'imagenet' / 'train').mkdir(parents=True)
    monkeypatch.setenv('IMAGENET_ROOT', str(tmp_path / 'imagenet'))
    monkeypatch.setattr('os.access', lambda path, mode: 'sealed' not in f'{path}')
    monkeypatch.delattr('os.getloadavg')  # as on Windows
    (tmp_path / 'sealed').mkdir()

    found = findings()
    for name, state, cure in (
        ('tqdm', 'SystemExit: no terminal', 'pip install --force-reinstall --no-deps tqdm'),
        ('psutil', 'not installed', "pip install 'edgenext_mm[train]'"),
        ('mmseg', 'AssertionError: mmcv is too new', 'mmsegmentation=='),
        ('mmcv.ops', 'no compiled operators', 'MMCV_WITH_OPS=1 pip install'),
        ('COCO_ROOT', 'set to nothing', 'unset COCO_ROOT'),
        ('VOC_ROOT', 'Not a directory', 'export VOC_ROOT=FOLDER  # one with JPEGImages/'),
        ('IMAGENET_ROOT', 'lacks val', 'export IMAGENET_ROOT=FOLDER'),
        ('EDGENEXT_CHECKPOINT_DIR', 'no folder', f'mkdir -p {tmp_path}/weights'),
        ('cache', 'cannot be written', 'export TORCH_HOME=FOLDER'),
    ):
        assert found[name].wrong, name
        assert state in found[name].state and cure in found[name].cure, found[name]
    # A task that is not installed may not be wanted.
    assert not found['mmpretrain'].wrong
    assert re.search(r'\[classification\]|mmpretrain==', found['mmpretrain'].cure)
    assert not found['torch'].wrong and not found['mmdet'].wrong
    assert not found['threads'].wrong

    monkeypatch.setattr(sys, 'argv', ['edgenext-mm', 'doctor'])
    with pytest.raises(SystemExit, match=r'^error: 9 of these have to be put right'):
        command.main()
    assert capsys.readouterr().out.count('PROBLEM') == 9
    monkeypatch.setattr(sys, 'argv', ['edgenext-mm', 'train', 'config.py'])
    monkeypatch.delitem(sys.modules, 'edgenext_mm.cli', raising=False)
    with pytest.raises(SystemExit, match=r'^error: .*psutil.*: edgenext-mm doctor says'):
        command.main()


def test_folder_that_cannot_be_read(whole, monkeypatch):
    def scandir(folder):
        raise PermissionError(13, 'Permission denied', str(folder))

    monkeypatch.setattr('os.scandir', scandir)
    found = {finding.name: finding for finding in doctor._data()}
    assert found['COCO_ROOT'].wrong
    assert found['COCO_ROOT'].cure == f'chmod -R u+rX {os.environ["COCO_ROOT"]}'


@pytest.mark.parametrize(
    ('installed', 'name', 'state', 'cure'),
    [
        (['mmengine', 'mmcv', 'mmdet'], 'family', "OpenMMLab's own releases", ''),
        (['onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection'], 'family', 'their continu', ''),
        (
            ['onedl-mmengine', 'onedl-mmcv', 'mmdet'],
            'family',
            'mixed',
            'pip uninstall --yes mmdet; pip install .* onedl-mmdetection==',
        ),
        (
            ['mmengine', 'mmcv', 'mmdet', 'onedl-mmdetection'],
            'mmdet',
            'two have it: mmdet 1 and onedl-mmdetection 1',
            'pip uninstall --yes mmdet onedl-mmdetection; pip install .* mmdet==',
        ),
    ],
)
def test_families(installed, name, state, cure, monkeypatch):
    monkeypatch.setattr(doctor, '_version', lambda name: '1' if name in installed else '')
    monkeypatch.setattr(doctor, '_is_there', lambda name: name not in ('mmseg', 'mmpretrain'))
    monkeypatch.setattr(doctor, '_fault', lambda name: '')
    found = {finding.name: finding for finding in doctor._libraries()}
    assert found[name].wrong == bool(cure) and state in found[name].state
    assert re.match(cure, found[name].cure)
    own = {'mmengine', 'mmcv', 'mmdet'} & {*installed}
    cure = r'pip install .* mmsegmentation==' if own else r".*'edgenext_mm\[segmentation\]'"
    assert not found['mmseg'].wrong and re.match(cure, found['mmseg'].cure)


def test_nothing_is_there(monkeypatch):
    """An empty environment: all is missing, nothing fails."""
    monkeypatch.setattr(doctor, '_version', lambda name: '')
    monkeypatch.setattr(doctor, '_is_there', lambda name: False)
    monkeypatch.setattr(doctor, '_fault', lambda name: 'ModuleNotFoundError')
    monkeypatch.setattr(doctor, '_here', lambda: 1 / 0)
    found = findings()
    assert found['tasks'].wrong and found['torch'].wrong and found['mmengine'].wrong
    assert not found['weights'].wrong and 'not looked for' in found['weights'].state
