"""Measure a config's backbone or whole model beside the models that one would take instead."""

import argparse
import os
import sys
from pathlib import Path

from edgenext_mm.cli import check_file, config_parser, load_config, parse_args, prepare_process
from edgenext_mm.errors import exit_on_input_error

FORMS = ('eager', 'deploy', 'compiled')
PEERS = ('timm', 'mmpretrain', 'mobilevit')


def make_parser() -> argparse.ArgumentParser:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--whole',
        action='store_true',
        help='the whole model: a detector or segmentor is measured '
        "beside torchvision's with MobileNetV3",
    )
    parser.add_argument(
        '--forms',
        nargs='+',
        choices=FORMS,
        default=['eager', 'deploy'],
        help='compiled is the deploy form in torch.compile, with the weights as constants; peers '
        'are then compiled too (default: eager deploy)',
    )
    parser.add_argument('--backward', action='store_true', help='forward and backward, eager')
    parser.add_argument('--with-cp', action='store_true', help='measure with_cp=True as well')
    parser.add_argument(
        '--peers', nargs='*', choices=PEERS, default=PEERS, help='none if empty (default: all)'
    )
    parser.add_argument(
        '--against', type=Path, metavar='FOLDER', help='another checkout to measure in turn'
    )
    parser.add_argument('--shape', type=int, nargs=2, default=[256, 256], metavar=('H', 'W'))
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 16])
    parser.add_argument('--threads', type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument('--runs', type=int, default=20, help='calls of each (default: 20)')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='append the tables to a file')
    return parser


def main() -> None:
    args = parse_args(make_parser())

    from edgenext_mm.analysis.benchmark import benchmark, table

    if args.against:
        args.against = args.against.resolve()
        check_file(args.against / 'edgenext_mm' / '__init__.py')
    cfg = load_config(args)
    command = ' '.join(sys.argv[1:]).partition(' --markdown')[0]
    height, width = args.shape
    for batch_size in args.batch_sizes:
        results, peaks = benchmark(
            cfg,
            prepare_process,
            batch_size,
            args.shape,
            args.threads,
            args.runs,
            args.backward,
            args.against,
            whole=args.whole,
            forms=args.forms,
            with_cp=args.with_cp,
            peers=args.peers,
        )
        peak = ' and '.join(f'{speed / 1e9:.0f} ({name})' for name, speed in peaks.items())
        text = (
            f'`tools/benchmark.py {command}`: {batch_size} x {height}x{width}, {args.threads} '
            f'threads, peak {peak} GMAdds/s\n\n'
            f'{table(results, max(peaks.values()), batch_size, args.backward)}\n'
        )
        print(f'\n{text}')
        if args.markdown:
            with args.markdown.open('a') as file:
                file.write(f'\n{text}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
