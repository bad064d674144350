import io
import subprocess
import sys
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
from conftest import CONFIGS, ROOT

from edgenext_mm.analysis.company import measure_company
from edgenext_mm.errors import InputError

DEMO = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'


@pytest.mark.slow
def test_trains_alone_and_in_company(run_tool, monkeypatch, capsys):
    """In this process, which has imported the libraries."""

    def train(command, env, **_):
        assert env['OMP_NUM_THREADS'] == '1' and env['GOMP_SPINCOUNT'] == '0'
        python, tool, *arguments = command
        assert (python, tool) == (sys.executable, str(ROOT / 'tools/train.py'))
        with redirect_stdout(io.StringIO()):
            run_tool('train.py', *arguments)
        return subprocess.CompletedProcess(command, 0)

    module = SimpleNamespace(**{**vars(subprocess), 'run': train})
    monkeypatch.setattr('edgenext_mm.analysis.company.subprocess', module)
    small = ('train_dataloader.batch_size=1', 'train_dataloader.num_workers=0')
    run_tool(
        *('benchmark_company.py', DEMO, '--iterations', 5, '--rounds', 1, '--busy', 1),
        *('--settings', 'OMP_NUM_THREADS=1,GOMP_SPINCOUNT=0', '--cfg-options', *small),
        'train_dataloader.persistent_workers=False',
    )
    header, _, row = capsys.readouterr().out.splitlines()
    assert header == '| setting | alone (s) | beside 1 (s) | alone | beside 1 |'
    setting, alone, beside, ratio, _ = row.strip('| ').split(' | ')
    assert setting == 'OMP_NUM_THREADS=1,GOMP_SPINCOUNT=0' and ratio == '1.00'
    assert float(alone) > 0 and float(beside) > 0


def test_training_that_fails():
    command = [sys.executable, '-c', 'import sys; sys.exit("no data")']
    with pytest.raises(InputError, match='training with default failed:\nno data'):
        measure_company(command, ['default'], [1], rounds=1)
