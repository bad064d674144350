import shutil
from concurrent.futures import Executor, Future, ProcessPoolExecutor

import pytest
import torch
import torch.nn as nn
from conftest import CLS_CONFIGS, CONFIGS, ROOT

from edgenext_mm.analysis.benchmark import measure_peaks
from edgenext_mm.analysis.candidates import Candidate


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith('|')]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


class Here(Executor):
    """In the place of another process, which would import the libraries once more."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def benchmark(run_tool, monkeypatch):
    """Run the tool, with the models of this checkout in this process."""

    def executor(workers, context, start, arguments):
        _, checkout = arguments
        if checkout:
            return ProcessPoolExecutor(workers, context, start, arguments)
        start(*arguments)
        return Here()

    monkeypatch.setattr('edgenext_mm.analysis.benchmark.ProcessPoolExecutor', executor)
    threads = torch.get_num_threads()  # which stay as they are
    return lambda *arguments: run_tool('benchmark.py', *arguments, '--threads', threads)


@pytest.mark.slow
def test_compares_backbones(benchmark, tmp_path, capsys):
    config = CLS_CONFIGS / 'edgenext_xx_small_imagenet.py'
    out = tmp_path / 'table.md'
    benchmark(
        *(config, '--batch-sizes', 2, '--shape', 64, 96, '--runs', 3),
        *('--markdown', out, '--peers', 'timm', 'mmpretrain'),
        *('--cfg-options', 'model.backbone.in_channels=1'),
    )
    table = rows(out.read_text())
    assert out.read_text() in capsys.readouterr().out
    assert list(table) == ['edgenext_mm, eager', 'edgenext_mm, deploy', 'timm', 'mmpretrain']
    assert {row['parameters (M)'] for row in table.values()} == {'1.16'}
    assert min(float(row['over EdgeNeXt']) for row in list(table.values())[2:]) == 1
    ms, rate = (float(table['timm'][key]) for key in ('ms', 'images/s'))
    assert rate == pytest.approx(2e3 / ms, rel=0.05)


MARK = """
import torch


class Marked(EdgeNeXt):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mark = torch.nn.Parameter(torch.zeros(1_000_000))


MODELS.register_module('EdgeNeXt', force=True, module=Marked)
"""


@pytest.mark.slow
def test_compares_checkouts(benchmark, tmp_path, capsys):
    """The other checkout's network has a million more parameters."""
    before = tmp_path / 'before'
    shutil.copytree(ROOT / 'edgenext_mm', before / 'edgenext_mm')
    with (before / 'edgenext_mm/models/__init__.py').open('a') as file:
        file.write(f'from ..registry import MODELS\n{MARK}')
    benchmark(
        *(CLS_CONFIGS / 'edgenext_xx_small_imagenet.py', '--against', before),
        *('--batch-sizes', 1, '--shape', 64, 64, '--runs', 2, '--peers', 'timm'),
    )
    table = rows(capsys.readouterr().out)
    assert {name: row['parameters (M)'] for name, row in table.items()} == {
        'edgenext_mm, eager': '1.16',
        'edgenext_mm, deploy': '1.16',
        'timm': '1.16',
        'before, eager': '2.16',
        'before, deploy': '2.16',
    }
    assert table['before, eager']['over before, eager'] == '1.00'
    with pytest.raises(SystemExit, match=r'nowhere/edgenext_mm/__init__.py does not exist'):
        benchmark(CLS_CONFIGS / 'edgenext_xx_small_imagenet.py', '--against', 'nowhere')


@pytest.mark.slow
def test_compares_detectors(benchmark, capsys):
    config = CONFIGS / 'ssdlite_edgenext_xx_small_coco.py'
    benchmark(config, '--whole', '--batch-sizes', 1, '--shape', 64, 64, '--runs', 3)
    table = rows(capsys.readouterr().out)
    assert list(table)[-1] == 'ssdlite320_mobilenet_v3_large' and len(table) == 3
    with pytest.warns(UserWarning, match='model is for images of 3 channels, not 4, and left out'):
        benchmark(
            *(config, '--whole', '--batch-sizes', 1, '--shape', 64, 64),
            *('--runs', 2, '--cfg-options', 'model.backbone.in_channels=4'),
        )
    table = rows(capsys.readouterr().out)
    assert list(table) == ['edgenext_mm, eager', 'edgenext_mm, deploy']
    with pytest.raises(SystemExit, match='--whole is for detectors and segmentors'):
        benchmark(CLS_CONFIGS / 'edgenext_xx_small_imagenet.py', '--whole')


@pytest.mark.slow
def test_compares_training(benchmark, capsys):
    config = CLS_CONFIGS / 'edgenext_xx_small_imagenet.py'
    benchmark(
        *(config, '--backward', '--with-cp', '--batch-sizes', 2, '--runs', 2),
        *('--shape', 128, 128, '--peers', 'timm'),
    )
    memory = {name: int(row['memory (MiB)']) for name, row in rows(capsys.readouterr().out).items()}
    assert memory['edgenext_mm, with_cp'] < memory['edgenext_mm'] < memory['timm']


def test_counts_memory():
    """A layer's output of 4 MiB."""
    layer = nn.Linear(1024, 1024, bias=False)
    images = torch.randn(1024, 1024)
    assert Candidate('linear', layer, layer).memory(images) == pytest.approx(2**22, rel=0.01)


def test_peaks_of_both_products():
    peaks = measure_peaks((256,), runs=5)
    assert len(peaks) == 2 and min(peaks.values()) > 1e8
