"""Ways to train faster give the losses of plain training."""

import re

import numpy as np
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS, options, run_here
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from small_networks import ARCH

from edgenext_mm.analysis.logs import read_scalars

CONFIG_OF = {
    'detection': CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
    'segmentation': SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
}
# A convolution encoder, an SDTA encoder with position encoding, and the task's own layers.
TWO_BLOCKS = """
_base_ = {base!r}
arch = dict(_delete_=True, **{arch})
model = dict(backbone=dict(arch=arch, out_indices=(0, 1)))
train_dataloader = dict(num_workers=0, persistent_workers=False)
"""
PARTS = {
    'detection': """
model.update(neck=dict(in_channels=(8, 16)))
train_cfg = dict(max_epochs={epochs}, val_interval=100)
""",
    'segmentation': """
model.update(decode_head=dict(in_channels=16, channels=16))
train_cfg = dict(max_iters={iterations}, val_interval=100)
""",
}
# Of the images in the networks.
SIDE = {'detection': 'input_size=(64,64)', 'segmentation': 'size=64'}
ITERATIONS = 16

compiles = pytest.mark.skipif(
    not hasattr(torch.compiler, 'is_compiling'), reason='PyTorch before 2.3 breaks the graph'
)


@pytest.fixture(scope='module')
def train(tmp_path_factory, demo_data):
    """Return a function that trains and returns the losses of the iterations, and the log.

    32 images in batches of 8 are 4 iterations an epoch.
    """

    def run(task, *arguments, **settings):
        folder = tmp_path_factory.mktemp(task)
        config = folder / 'config.py'
        text = TWO_BLOCKS + PARTS[task]
        length = dict(iterations=ITERATIONS, epochs=ITERATIONS // 4)
        config.write_text(text.format(base=str(CONFIG_OF[task]), arch=ARCH, **length))
        settings |= {
            'randomness.seed': 0,
            'default_hooks.logger.interval': 1,
            'log_processor.window_size': 1,
        }
        with pytest.MonkeyPatch.context() as patch:
            work_dir = folder / 'work'
            command = ('train.py', config, f'--work-dir={work_dir}', *arguments)
            words = *options(settings), SIDE[task]
            run_here(patch, *command, *words, cwd=folder, data_root=demo_data)
        rows, _ = read_scalars(work_dir)
        assert list(rows) == list(range(1, ITERATIONS + 1))
        (log,) = work_dir.glob('*/*.log')
        return np.array([row['loss'] for row in rows.values()]), log.read_text()

    return run


@pytest.fixture(scope='module')
def plain(train):
    """The losses of plain training by task."""
    return {task: train(task)[0] for task in CONFIG_OF}


@pytest.mark.slow
@pytest.mark.parametrize('task', CONFIG_OF)
def test_mixed_precision(train, plain, task):
    mixed, _ = train(task, '--amp')
    assert not np.array_equal(mixed, plain[task])  # it is in bfloat16
    means, plain_means = (losses.reshape(-1, 8).mean(1) for losses in (mixed, plain[task]))
    assert means == pytest.approx(plain_means, rel=0.02)


@compiles
@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'backend'),
    [
        ('detection', 'aot_eager'),
        ('segmentation', 'aot_eager'),
        pytest.param('detection', 'inductor', marks=pytest.mark.soak),
    ],
)
def test_compiled(train, plain, task, backend):
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    compiled, log = train(task, **{'compile.backend': backend})
    # Before small differences of rounding grow.
    assert compiled[:12] == pytest.approx(plain[task][:12], rel=1e-3)
    assert 'torch.compile compiles backbone' in log
    # Each network for training and for validation, where the segmentor's images have another size.
    graphs = {'detection': 6, 'segmentation': 3}
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] == graphs[task]


@pytest.mark.parametrize(
    ('device', 'message'),
    [('mps', '--amp is for CPUs'), ('cpu', 'mixed precision on a CPU is in bfloat16, not float16')],
)
def test_mixed_precision_elsewhere(run_tool, monkeypatch, device, message):
    monkeypatch.setattr('mmengine.device.get_device', lambda: device)
    options = ('--amp', '--cfg-options', 'optim_wrapper.dtype=float16')
    with pytest.raises(SystemExit, match=message):
        run_tool('train.py', CONFIG_OF['detection'], *options)


@pytest.mark.slow
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
    cfg.model.backbone.update(arch=ARCH, out_indices=(0, 1))
    cfg.model.neck.in_channels = (8, 16)
    for steps in (cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline):
        next(step for step in steps if step['type'] == 'Resize')['scale'] = (64, 64)
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


@pytest.mark.slow
def test_profile(run_tool, capsys, tmp_path):
    run_tool(
        'profile_training.py',
        CONFIG_OF['detection'],
        *('--iterations=3', '--samples=8', f'--work-dir={tmp_path}'),
    )
    output, _, saving = capsys.readouterr().out.partition('| one checkpoint of ')
    times, parts = (
        {
            name: float(time)
            for name, time in re.findall(r'^\| (.+) \| (\d+\.\d+) \| \d+% \|$', text, re.MULTILINE)
        }
        for text in (output, saving)
    )
    assert min(parts['into bytes, with checksums'], parts['flushed to the disk']) > 0
    assert re.search(r'checksums are compared in \d+\.\d+ ms', saving)
    assert {'LoadImageFromFile', 'Resize', 'PackDetInputs', 'waiting for data', 'hooks'} <= {*times}
    parts = ('batch to the network', 'backbone', 'neck', 'head and losses', 'backward pass')
    assert max(times[name] for name in parts) == times['backward pass'] > times['optimizer'] > 0
    assert sum(times[name] for name in parts) < times['all']
    assert not [*tmp_path.glob('*.pth')]
    # With steps of the optimizer in every second iteration, and the size of a batch sampler.
    options = ('--cfg-options', 'optim_wrapper.accumulative_counts=2', 'train_cfg.max_epochs=1')
    arguments = (f'--work-dir={tmp_path}', '--samples=1')
    config = CLS_CONFIGS / 'edgenext_xx_small_demo.py'
    run_tool('profile_training.py', config, *arguments, '--iterations=2', *options)
    output = capsys.readouterr().out
    assert '| optimizer |' in output and '| MultiScaleRandomResizedCrop |' in output
    arguments = (CONFIG_OF['detection'], *arguments)
    with pytest.raises(SystemExit, match='the run has 4 iterations'):
        run_tool('profile_training.py', *arguments, '--iterations=9', *options)
    with pytest.raises(SystemExit, match='2'):
        run_tool('profile_training.py', *arguments, '--iterations=0')
    assert '0 is less than 1' in capsys.readouterr().err


@pytest.mark.parametrize(('cpus', 'workers'), [(1, 1), (2, 2), (64, 4)])
def test_no_more_workers_than_processors(monkeypatch, cpus, workers):
    monkeypatch.setattr('os.cpu_count', lambda: cpus)
    for config in CONFIG_OF.values():
        cfg = Config.fromfile(config)
        assert cfg.train_dataloader.num_workers == cfg.val_dataloader.num_workers == workers
        assert Config.fromstring(cfg.pretty_text, '.py').val_dataloader.num_workers == workers
