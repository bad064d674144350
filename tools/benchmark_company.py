"""Measure training alone and beside busy processes, with several settings of OpenMP's threads."""

import argparse
import sys
from pathlib import Path

from edgenext_mm.cli import config_parser, load_config, parse_args, positive
from edgenext_mm.errors import exit_on_input_error

SETTINGS = (
    'default',  # of the tools: SPIN_COUNT in edgenext_mm/cli.py
    'GOMP_SPINCOUNT=0',
    'GOMP_SPINCOUNT=1000',
    'GOMP_SPINCOUNT=10000',
    'GOMP_SPINCOUNT=100000',
    'GOMP_SPINCOUNT=300000',  # libgomp's own default
    'GOMP_SPINCOUNT=1000000',
    'OMP_WAIT_POLICY=PASSIVE',
    'OMP_NUM_THREADS=1',
)


def make_parser() -> argparse.ArgumentParser:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--settings',
        nargs='+',
        default=SETTINGS,
        metavar='VARIABLE=VALUE',
        help='variables of the environment, several of them joined by commas, or default',
    )
    parser.add_argument(
        '--busy',
        type=positive,
        nargs='+',
        default=[1, 2],
        help='busy processes beside the training, besides none (default: 1 2)',
    )
    parser.add_argument('--rounds', type=positive, default=3, help='runs of each (default: 3)')
    parser.add_argument(
        '--iterations', type=positive, default=20, help='of a run, three of them to warm up'
    )
    return parser


def main() -> None:
    args = parse_args(make_parser())

    from edgenext_mm.analysis.company import measure_company, table

    images = args.iterations * load_config(args).train_dataloader.batch_size
    overrides = [
        *args.cfg_options,
        f'train_dataloader.dataset.indices={images}',
        'train_cfg.max_epochs=1',
        'train_cfg.val_begin=2',
        'default_hooks.checkpoint=None',
        'default_hooks.logger.interval=1',
        'log_processor.window_size=1',
    ]
    train = Path(__file__).with_name('train.py')
    command = [sys.executable, str(train), args.config, '--cfg-options', *overrides]
    print(table(measure_company(command, args.settings, [0, *args.busy], args.rounds)))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
