"""Ways to train faster give the losses of plain training."""

import re

import numpy as np
import pytest
import torch
from conftest import CONFIGS, ROOT, SEG_CONFIGS, start_process
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from edgenext_mm.analysis.logs import read_scalars

CONFIG_OF = {
    'detection': CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
    'segmentation': SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
}
TINY = """
_base_ = {base!r}
arch = dict(_delete_=True, depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)
model = dict(backbone=dict(arch=arch), {channels})
"""
CHANNELS = {
    'detection': 'neck=dict(in_channels=(16, 24, 32))',
    'segmentation': 'decode_head=dict(in_channels=32)',
}


compiles = pytest.mark.skipif(
    not hasattr(torch.compiler, 'is_compiling'), reason='PyTorch before 2.3 breaks the graph'
)


@pytest.fixture
def train(tmp_path_factory, demo_data):
    """Return a function that trains and returns the losses of the iterations, and the output.

    32 images in batches of 8 are 4 iterations an epoch.
    """

    def run(config, iterations, *arguments, **options):
        work_dir = tmp_path_factory.mktemp('run')
        length = {'train_cfg.max_iters': iterations}
        if 'detection' in str(config):
            length = {'train_cfg.max_epochs': iterations // 4, 'train_cfg.val_interval': iterations}
        options = {
            **length,
            'randomness.seed': 0,
            'default_hooks.logger.interval': 1,
            'log_processor.window_size': 1,
            **options,
        }
        process = start_process(
            *('python', ROOT / 'tools/train.py', config, f'--work-dir={work_dir}', *arguments),
            '--cfg-options',
            *(f'{key}={value}' for key, value in options.items()),
            cwd=work_dir,
            data_root=demo_data,
        )
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output[-5000:]
        rows, _ = read_scalars(work_dir)
        assert list(rows) == list(range(1, iterations + 1))
        return np.array([row['loss'] for row in rows.values()]), output

    return run


@pytest.mark.parametrize('task', CONFIG_OF)
def test_mixed_precision(train, task):
    plain, _ = train(CONFIG_OF[task], 52)
    mixed, _ = train(CONFIG_OF[task], 52, '--amp')
    assert not np.array_equal(mixed, plain)  # it is in bfloat16
    means, plain_means = (losses[:50].reshape(5, 10).mean(1) for losses in (mixed, plain))
    assert means == pytest.approx(plain_means, rel=0.02)


@compiles
@pytest.mark.parametrize(
    ('task', 'backend'), [('detection', 'inductor'), ('segmentation', 'aot_eager')]
)
def test_compiled(train, task, backend, tmp_path):
    config = tmp_path / f'{task}.py'
    config.write_text(TINY.format(base=str(CONFIG_OF[task]), channels=CHANNELS[task]))
    plain, _ = train(config, 12)
    options = {'compile': True} if backend == 'inductor' else {'compile.backend': backend}
    compiled, output = train(config, 12, **options)
    # Before small differences of rounding grow.
    assert compiled == pytest.approx(plain, rel=1e-3)
    assert 'torch.compile compiles backbone' in output
    assert 'torch/_dynamo' not in output  # warnings of compiling again and again


@pytest.mark.parametrize(
    ('device', 'message'),
    [('mps', '--amp is for CPUs'), ('cpu', 'mixed precision on a CPU is in bfloat16, not float16')],
)
def test_mixed_precision_elsewhere(run_tool, monkeypatch, device, message):
    monkeypatch.setattr('mmengine.device.get_device', lambda: device)
    options = ('--amp', '--cfg-options', 'optim_wrapper.dtype=float16')
    with pytest.raises(SystemExit, match=message):
        run_tool('train.py', CONFIG_OF['detection'], *options)


@compiles
def test_compiles_the_networks_alone(demo_data, monkeypatch, tmp_path):
    """Backbone, neck and head for training, for validation, and the deploy form for tests."""
    monkeypatch.setenv('COCO_ROOT', str(demo_data))
    torch.compiler.reset()
    cfg = Config.fromfile(CONFIGS / 'ssdlite_edgenext_xx_small_demo.py')
    init_default_scope('mmdet')
    cfg.work_dir = str(tmp_path)
    cfg.compile = options = dict(backend='eager')
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(num_workers=0, persistent_workers=False)
    graphs = torch._dynamo.utils.counters['stats']
    counts = [graphs['unique_graphs']]
    runner = Runner.from_cfg(cfg)
    for run in (runner.train, runner.test, runner.val, runner.test):
        run()
        counts.append(graphs['unique_graphs'])
    assert np.diff(counts).tolist() == [6, 3, 0, 0]
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    assert Config.fromstring(checkpoint['meta']['cfg'], '.py').compile == options


def test_profile(run_tool, capsys, tmp_path):
    run_tool(
        'profile_training.py',
        CONFIG_OF['detection'],
        *('--iterations=3', '--samples=8', f'--work-dir={tmp_path}'),
    )
    output = capsys.readouterr().out
    times = dict(re.findall(r'^\| (.+) \| (\d+\.\d+) \| \d+% \|$', output, re.MULTILINE))
    times = {name: float(time) for name, time in times.items()}
    assert {'LoadImageFromFile', 'Resize', 'PackDetInputs', 'waiting for data', 'hooks'} <= {*times}
    parts = ('batch to the network', 'backbone', 'neck', 'head and losses', 'backward pass')
    assert max(times[name] for name in parts) == times['backward pass'] > times['optimizer'] > 0
    assert sum(times[name] for name in parts) < times['all']
    assert not [*tmp_path.glob('*.pth')]
    # With steps of the optimizer in every second iteration, and too few iterations.
    options = ('--cfg-options', 'optim_wrapper.accumulative_counts=2', 'train_cfg.max_epochs=1')
    arguments = (CONFIG_OF['detection'], f'--work-dir={tmp_path}', '--samples=1')
    run_tool('profile_training.py', *arguments, '--iterations=2', *options)
    assert '| optimizer |' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='the run has 4 iterations'):
        run_tool('profile_training.py', *arguments, '--iterations=9', *options)


@pytest.mark.parametrize(('cpus', 'workers'), [(1, 1), (2, 2), (64, 4)])
def test_no_more_workers_than_processors(monkeypatch, cpus, workers):
    monkeypatch.setattr('os.cpu_count', lambda: cpus)
    for config in CONFIG_OF.values():
        cfg = Config.fromfile(config)
        assert cfg.train_dataloader.num_workers == cfg.val_dataloader.num_workers == workers
        assert Config.fromstring(cfg.pretty_text, '.py').val_dataloader.num_workers == workers
