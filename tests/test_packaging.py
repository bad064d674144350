import re

from conftest import ROOT


def test_extra_has_the_tested_pins():
    extra = re.findall(r'"(onedl-[a-z]+==[^"]+)"', (ROOT / 'pyproject.toml').read_text())
    pins = (ROOT / 'requirements.txt').read_text().splitlines()
    assert extra == [pin for pin in pins if pin.startswith('onedl-')] != []
