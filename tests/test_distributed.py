"""Training and tests in two processes on CPUs, by PyTorch's gloo backend."""

import os
import socket

import pytest
import torch
from conftest import CONFIGS, ROOT, start_process
from mmengine.config import Config
from small_networks import TASKS
from two_processes import start, train_and_test

from edgenext_mm.analysis.logs import read_scalars

DEMO = CONFIGS / 'ssdlite_edgenext_xx_small_demo.py'


@pytest.mark.slow
def test_two_processes(demo_data, tmp_path):
    """Two processes train and test as one does, and one alone says what it waits for."""
    for task in TASKS:
        *_, metrics = result = train_and_test(task, demo_data, tmp_path / task)
        assert min(metrics.values()) > 0
        torch.save(result, tmp_path / f'{task}.pth')
    torch.multiprocessing.spawn(start, (tmp_path, demo_data), nprocs=2)


@pytest.mark.slow
def test_tools(demo_data, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        monkeypatch.setenv('PORT', str(free.getsockname()[1]))
    # mmengine gives each process a GPU of its own before it starts the process group; all that
    # comes after runs on CPUs as well.
    (tmp_path / 'sitecustomize.py').write_text('import torch\ntorch.cuda.set_device = print\n')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    options = (
        '--cfg-options',
        'env_cfg.dist_cfg.backend=gloo',
        'sync_bn=None',  # PyTorch has it for GPUs only
        'model_wrapper_cfg.type=MMDistributedDataParallel',
        'model_wrapper_cfg.device_ids=None',
        'train_cfg.max_epochs=1',
        'param_scheduler.1.T_max=1',
        'default_hooks.logger.interval=1',
        'auto_scale_lr.base_batch_size=4',  # of the 16 that two processes take
    )

    def run(script, *arguments):
        process = start_process(
            *(ROOT / 'tools' / script, *arguments, f'--work-dir={tmp_path}', *options),
            cwd=tmp_path,
            data_root=demo_data,
        )
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output
        return output

    assert 'coco/bbox_mAP' in run('dist_train.sh', DEMO, 2, '--auto-scale-lr')
    train, _ = read_scalars(tmp_path)
    cfg = Config.fromfile(DEMO)
    warm_up = cfg.param_scheduler[0].start_factor
    assert list(train) == [1, 2]
    assert train[1]['lr'] == pytest.approx(4 * warm_up * cfg.optim_wrapper.optimizer.lr)
    assert 'coco/bbox_mAP' in run('dist_test.sh', DEMO, tmp_path / 'epoch_1.pth', 2)
