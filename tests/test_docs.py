"""README and docs speak of what there is: pages, configs, tools and their options."""

import argparse
import ast
import re
import runpy
import shlex
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, run_here
from exported import constant_boxes
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from edgenext_mm.__main__ import commands as edgenext_mm_commands
from edgenext_mm.configs import config_path

PAGES = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]
DEMOS = {
    'demo': 'configs/detection/ssdlite_edgenext_xx_small_demo.py',
    'demo_seg': 'configs/segmentation/deeplabv3_edgenext_xx_small_demo.py',
    'demo_cls': 'configs/classification/edgenext_xx_small_demo.py',
}
OTHER_PROGRAMS = ('.ci/run', 'adb', 'cp', 'export', 'pip', 'scontrol', 'source', 'trtexec')
each_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
RUNNING = [page for page in PAGES if re.search('```python|_demo.py', page.read_text())]


def anchors(page):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', page.read_text(), re.M)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in headings}


@each_page
def test_links(page):
    for link in re.findall(r'\]\((?!https?:)([^)\s]+)\)', page.read_text()):
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


class Parsed(Exception):
    """A tool has parsed its command line."""


@pytest.fixture
def parse(monkeypatch):
    """Let a tool parse a command line, and do nothing else."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(parser, *args):
        raise Parsed(parse_args(parser, *args))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)

    def run(tool, *args):
        monkeypatch.setattr(sys, 'argv', [tool, *args])
        with pytest.raises(Parsed):
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')

    return run


def blocks(page, *languages):
    """Return the language and the text of each block of code in these languages."""
    fences = re.findall(r'^```(\w*)\n(.*?)^```$', page.read_text(), re.M | re.S)
    return [(language, text) for language, text in fences if language in languages]


def commands(text):
    """Yield the words of each command of a block, without its variables and the shell's own."""
    for line in text.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r'\w+=', words[0]):
            words.pop(0)
        if words and words[0] not in ('if', 'fi', 'for', 'done'):
            yield words


def as_tool(words):
    """Return the tool that a command starts with its arguments, or None if it is another program's.

    The scripts take what train.py and test.py do, after numbers and names of their own.
    """
    match words:
        case [python, tool, *args] if Path(python).name == 'python' and tool.startswith('tools/'):
            return tool.removeprefix('tools/'), *args
        case [tool, *args] if re.match(r'tools/.+\.py$', tool):
            return tool.removeprefix('tools/'), *args
        case ['edgenext-mm', name, *args]:
            return str(edgenext_mm_commands()[name].resolve().relative_to(ROOT / 'tools')), *args
        case ['tools/dist_train.sh', config, _, *args]:
            return 'train.py', config, *args
        case ['tools/dist_test.sh', config, checkpoint, _, *args]:
            return 'test.py', config, checkpoint, *args
        case ['tools/slurm_train.sh' | 'tools/slurm_test.sh' as script, _, _, *args]:
            return f'{script[12:-3]}.py', *args
        case ['make', *targets]:
            rules = re.findall(r'^([\w.-]+):', (ROOT / 'Makefile').read_text(), re.M)
            assert {*targets} <= {*rules}
        case [program, *_]:
            assert program in OTHER_PROGRAMS
    return None


@each_page
def test_commands(page, parse, capsys):
    """Tools, scripts, targets and configs in commands exist, and the tools take the arguments."""
    shown = [text for _, text in blocks(page, 'bash')]
    # In the text, and in blocks of what was measured, those with arguments.
    shown += re.findall(r'^((?:python )?tools/(?:.*\\\n)*.*)$', page.read_text(), re.M)
    shown += re.findall(r'`((?:python )?tools/[\w/]+\.py [^-`][^`]*)`', page.read_text())
    for text in shown:
        for config in re.findall(r'\bconfigs/(?!\w+/mine)[\w/]+\.py', text):
            assert (ROOT / config).exists(), config
        for words in commands(text):
            if tool := as_tool(['256' if word == 'SIZE' else word for word in words]):
                try:
                    parse(*tool)
                except SystemExit:
                    pytest.fail(f'{" ".join(words)}\n{capsys.readouterr().err}')


@pytest.fixture(scope='module')
def checkout(tmp_path_factory, demo_data):
    """A folder with what stands in one when the demos are done; the weights are random ones."""
    folder = tmp_path_factory.mktemp('checkout')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    (folder / 'data').mkdir()
    (folder / 'data/demo').symlink_to(demo_data)
    for name, config in DEMOS.items():
        cfg = Config.fromfile(ROOT / config)
        end = f'iter_{cfg.max_iters}' if 'max_iters' in cfg else f'epoch_{cfg.max_epochs}'
        save_weights(cfg, folder / f'work_dirs/{name}/{end}.pth')
    # This import, which the pages name, lets mmengine know the names of the package's configs too.
    config = config_path('edgenext_mm::detection/ssdlite_edgenext_small_coco.py')
    save_weights(Config.fromfile(config), folder / 'epoch_200.pth')
    constant_boxes(folder / 'detector.onnx', [[1, 2, 30, 40]], [[0.9, 0.1]])
    for name in ('photo.jpg', 'street.jpg'):
        (folder / name).symlink_to(demo_data / 'val2017/000001000001.jpg')
    cv2.imwrite(str(folder / 'scan.tif'), np.linspace(0, 65535, 4096).astype('u2').reshape(64, 64))
    return folder


def save_weights(cfg, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = cfg.test_dataloader.dataset.get('metainfo', {})
    content = dict(meta=dict(dataset_meta=dict(meta)), state_dict=build(cfg).state_dict())
    torch.save(content, path)


def build(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def runs_here(words):
    """Whether a command exports, tests or predicts with a demo's config."""
    tool = as_tool(words)
    return tool and tool[0] in ('export.py', 'test.py', 'infer.py') and tool[1] in DEMOS.values()


@pytest.mark.slow
@pytest.mark.parametrize('page', RUNNING, ids=lambda page: page.name)
def test_blocks_run(page, checkout, demo_data, monkeypatch):
    """Python and commands on the demos run, in their order; configs build a model.

    Other commands want data, hardware or hours: see test_commands.
    """
    monkeypatch.chdir(checkout)
    for number, (language, text) in enumerate(blocks(page, 'bash', 'python')):
        if language == 'bash':
            for words in filter(runs_here, commands(text)):
                run_here(monkeypatch, *as_tool(words), cwd=checkout, data_root=demo_data)
        elif text.startswith('_base_'):
            config = checkout / f'{page.stem}_{number}.py'
            config.write_text(text)
            build(Config.fromfile(config))
        else:
            exec(compile(text, f'{page.name}, block {number}', 'exec'), {})


def test_reference():
    """The site has an entry for each name that a package exports."""
    pytest.importorskip('mkdocs')  # which is not there beside OpenMMLab's own releases
    hooks = runpy.run_path(str(ROOT / 'docs/site/hooks.py'))
    for package in hooks['PACKAGES']:
        entries = re.findall(r'^::: .*?(\w+)$', hooks['_reference'](package), re.M)
        exported = getattr(import_module(f'edgenext_mm.{package}'), '__all__', entries)
        assert sorted(entries) == sorted(exported) and entries


def test_recipes():
    """The page's settings are those of the configs that its table names."""
    page = (ROOT / 'docs/recipes.md').read_text()
    heading, _, *rows = re.findall(r'^\|(.*)\|$', page.partition('\n## ')[0], re.M)
    configs = [Config.fromfile(ROOT / link) for link in re.findall(r'\.\./(configs[^)]+)', heading)]
    for row in rows:
        key, *values = row.split('|')
        for setting, value in zip(configs, values, strict=True):
            if value.strip():
                for name in re.search(r'`(.+)`', key)[1].split('.'):
                    setting = setting[int(name) if name.isdigit() else name]
                assert setting == float(value), row
    assert len(configs) == 3 and len(rows) == 10


def texts():
    """Return all texts of the package but docstrings, with ... for what is filled in."""
    found = []
    for path in (ROOT / 'edgenext_mm').rglob('*.py'):
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, 'value', '') for part in node.values)
                found.append('...'.join(part for part in parts if isinstance(part, str)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [node.value] * (id(node) not in docstrings)
    return found


def test_messages():
    """What the page about troubles quotes as a message of ours is one."""
    page = (ROOT / 'docs/troubleshooting.md').read_text()
    rows = re.findall(r'^\| message .*?\n\n', page + '\n', re.M | re.S)
    cells = [line.split(' | ')[0] for table in rows for line in table.splitlines()[2:]]
    messages = [message for cell in cells for message in re.findall(r'`(.+?)`', cell)]
    known = texts()
    for message in messages:
        parts = (part.strip() for part in message.split('...'))
        pattern = '.*'.join(re.escape(part) for part in parts if part)
        assert any(re.search(pattern, text, re.S) for text in known), message
    assert len(messages) > 100


def test_map_of_the_house():
    """It has the layers of the import contract, in their order."""
    contracts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['importlinter']
    layers = [layer.replace('|', ' ').split() for layer in contracts['contracts'][0]['layers']]
    rows = re.findall(r'^\| (`.+?`) \|', (ROOT / 'CONTRIBUTING.md').read_text(), re.M)
    named = [[name.rstrip('/') for name in re.findall(r'`([\w/]+)`', row)] for row in rows]
    assert named == layers
