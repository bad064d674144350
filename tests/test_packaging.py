import tomllib

from conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())
PINS = (ROOT / 'requirements.txt').read_text().splitlines()


def test_extra_has_the_tested_pins():
    extra = PYPROJECT['project']['optional-dependencies']['tested']
    assert extra == [pin for pin in PINS if pin.startswith('onedl-')] != []


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
