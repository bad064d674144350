"""tools/analysis/compare_runs.py, on a run and on logs as runs write them."""

import json

import pytest
from conftest import CONFIGS, SEG_CONFIGS
from mmengine.config import Config
from small_networks import ARCH

from edgenext_mm.analysis import comparison
from edgenext_mm.errors import InputError

DEMO = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'
SEG = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith('| ')]
    cells = [[cell.strip() for cell in line[1:-1].split('|')] for line in lines]
    return [row for row in cells if row[0] != 'config']


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write what a run leaves: its config, and a log with times and validations."""
    monkeypatch.setattr(comparison, 'complexity_of', lambda config, shape: (1.5, shape[0] / 1e3))

    def write_run(name, seed, metric, values, config=DEMO, lr=3e-3, **train_cfg):
        work_dir = tmp_path / f'{name}_{lr}' / f'seed_{seed}'
        folder = work_dir / f'2026010{seed}_000000' / 'vis_data'
        folder.mkdir(parents=True)
        cfg = Config.fromfile(config)
        cfg.train_cfg.update(train_cfg)
        cfg.randomness = dict(seed=seed)
        cfg.optim_wrapper.optimizer.lr = lr
        if lr is None:
            del cfg.optim_wrapper.optimizer['lr']
        cfg.dump(work_dir / f'{name}.py')
        lines = [dict(iter=50 * i, step=50 * i, loss=1.0, time=0.1 * (1 + i)) for i in range(3)]
        lines += [{metric: value, 'step': step} for step, value in values.items()]
        (folder / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))
        return work_dir

    return write_run


def test_runs_of_a_config_are_a_row(write, tmp_path, run_tool, capsys):
    """What counts is the last validation; runs that are missing or not at their end are named."""
    mean_ap = 'coco/bbox_mAP'
    runs = [
        write('good', 0, mean_ap, {7: 0.9, 14: 0.31}),
        write('good', 1, mean_ap, {14: 0.32}),
        write('poor', 0, mean_ap, {14: 0.2}),
        write('poor', 1, mean_ap, {7: 0.3}),
        write('poor', 0, mean_ap, {14: 0.25}, lr=1e-2),
        write('other', 2, 'mIoU', {800: 55.25}, SEG, lr=None),
        tmp_path / 'poor_0.003' / 'seed_2',
    ]
    run_tool('analysis/compare_runs.py', *runs, '--calls', 0)
    said = capsys.readouterr().out
    common = ['1.500', '0.256']
    assert rows(said) == [
        ['good', *common, '14 epochs', '0.003', '0.200', '2', '31.5 (31.0 to 32.0)', '', '', ''],
        ['poor', *common, '14 epochs', '0.003', '0.200', '1', '20.0', '', '', ''],
        ['poor', *common, '14 epochs', '0.01', '0.200', '1', '25.0', '', '', ''],
        ['other', *common, '800 iterations', '', '0.200', '1', '55.2', '', '', ''],
    ]
    assert said.count('|---') / 11 == 2  # tables, one a metric
    assert f'- {runs[3]} was last validated at 7 of 14: go on with' in said
    assert f'- {runs[-1]} has no config: has a run begun?' in said
    with pytest.raises(InputError, match=r'no run is at its end: .*poor'):
        comparison.compare_runs(runs[-1:])
    with pytest.raises(InputError, match='--calls 1: the spread needs 2'):
        comparison.compare_runs(runs, calls=1)


def test_runs_of_one_config_have_one_recipe(write):
    runs = [write('one', seed, 'coco/bbox_mAP', {9: 0.1}, max_epochs=9 - seed) for seed in (0, 1)]
    with pytest.raises(InputError, match=r'seed_1 differs from .*seed_0 in train_cfg: give runs'):
        comparison.compare_runs(runs, calls=0)


@pytest.mark.slow
def test_a_run_that_is_resumed_at_its_end(run_tool, tmp_path, capsys):
    """It stays as it was, and is exported and measured."""
    config = tmp_path / 'tiny.py'
    model = dict(backbone=dict(arch=dict(ARCH, _delete_=True)), neck=dict(in_channels=(16, 24, 32)))
    config.write_text(f'_base_ = {str(DEMO)!r}\nmodel = {model}\n')
    said = []
    for _ in range(2):
        run_tool(
            *('train.py', config, '--resume', f'--work-dir={tmp_path}/run', '--cfg-options'),
            *('input_size=(64,64)', 'max_epochs=1', 'train_dataloader.dataset.indices=8'),
            *('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
            *('val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False'),
        )
        capsys.readouterr()
        run_tool('analysis/compare_runs.py', tmp_path / 'run', '--calls', 2, '--threads', 1)
        said += rows(capsys.readouterr().out)
    *before, latency, _, _ = said[0]
    assert before[3] == '1 epochs' and before[6] == '1'
    assert said[1][:-3] == before
    assert float(latency) > 0
