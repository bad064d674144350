"""README and docs speak of what there is: pages, configs, tools and their options."""

import re
import subprocess
import sys
import tomllib
from functools import cache

import pytest
from conftest import ROOT

PAGES = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]
each_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


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


@cache
def options(tool):
    """Return the options that a tool says it has."""
    command = [sys.executable, tool, '--help']
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {*re.findall(r'(?<![\w-])--?[a-z][\w-]*', said)}


@each_page
def test_commands(page):
    """The tools and configs in blocks of commands exist, and the tools have the options."""
    for block in re.findall(r'```bash\n(.*?)```', page.read_text(), re.S):
        for line in block.replace('\\\n', '').splitlines():
            line = line.partition('  #')[0]
            for config in re.findall(r'\bconfigs/(?!\w+/mine)[\w/]+\.py', line):
                assert (ROOT / config).exists(), line
            if tool := re.search(r'\bpython (tools/[\w/]+\.py)(.*)', line):
                used = {*re.findall(r'(?<=\s)--[a-z][\w-]*', tool[2])}
                assert used <= options(ROOT / tool[1]), line


def test_map_of_the_house():
    """It has the layers of the import contract, in their order."""
    contracts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['importlinter']
    layers = [layer.replace('|', ' ').split() for layer in contracts['contracts'][0]['layers']]
    rows = re.findall(r'^\| (`.+?`) \|', (ROOT / 'CONTRIBUTING.md').read_text(), re.M)
    named = [[name.rstrip('/') for name in re.findall(r'`([\w/]+)`', row)] for row in rows]
    assert named == layers
