"""Train a detector, segmentor or classifier from a config."""

import argparse
import os

from edgenext_mm.cli import check_file, load_runner_config, parse_args, runner_parser
from edgenext_mm.errors import InputError, exit_on_input_error


def make_parser() -> argparse.ArgumentParser:
    parser = runner_parser(__doc__)
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 on a GPU, or what optim_wrapper.dtype says, and '
        'bfloat16 on a CPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by the batch size over the config's base_batch_size",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint, or from the latest one of the work directory',
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='use operators that give the same numbers each time, slower ones too; those that '
        'have no such form are named',
    )
    parser.add_argument(
        '--tensorboard',
        action='store_true',
        help='log to TensorBoard as well: tensorboard --logdir WORK_DIR shows losses, learning '
        'rate and metrics',
    )
    return parser


def main() -> None:
    args = parse_args(make_parser(), trains=True)
    if args.deterministic:
        # cuBLAS reads it when it starts.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')

    from mmengine.device import get_device
    from mmengine.registry import RUNNERS

    cfg = load_runner_config(args)
    if args.amp:
        device = get_device()
        if device == 'mps':
            raise InputError('--amp is for CPUs and for GPUs that mmengine has mixed precision for')
        on_cpu = device == 'cpu'
        cfg.optim_wrapper.type = 'edgenext_mm.CPUAmpOptimWrapper' if on_cpu else 'AmpOptimWrapper'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise InputError(f'{args.config} lacks auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    if args.deterministic:
        cfg.merge_from_dict({'randomness.deterministic': True, 'env_cfg.cudnn_benchmark': False})
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else check_file(args.resume)
    if args.tensorboard:
        if not cfg.get('visualizer'):
            cfg.visualizer = dict(type='Visualizer')
        cfg.visualizer.setdefault('vis_backends', [dict(type='LocalVisBackend')])
        backends = cfg.visualizer.vis_backends
        if all(backend.type != 'TensorboardVisBackend' for backend in backends):
            backends.append(dict(type='TensorboardVisBackend'))
    RUNNERS.build(cfg).train()


if __name__ == '__main__':
    with exit_on_input_error():
        main()
