"""Measure a config's backbone or whole model beside the models that one would take instead."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext_mm.cli import (
    check_file,
    config_parser,
    load_config,
    parse_args,
    positive,
    prepare_process,
)
from edgenext_mm.errors import InputError, exit_on_input_error

if TYPE_CHECKING:
    from mmengine.config import Config

    from edgenext_mm.analysis.exported import ExportedFile

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
    parser.add_argument(
        '--shape', type=positive, nargs=2, metavar=('H', 'W'), help='of images (default: 256 256)'
    )
    parser.add_argument('--batch-sizes', type=positive, nargs='+', help='default: 1 16')
    parser.add_argument('--threads', type=positive, default=min(os.cpu_count() or 1, 2))
    parser.add_argument('--runs', type=positive, default=20, help='calls of each (default: 20)')
    group = parser.add_argument_group('exported files')
    group.add_argument(
        '--exported',
        nargs='+',
        metavar='FILE',
        default=[],
        help="files of tools/export.py to measure as well, beside timm's EdgeNeXt or "
        "torchvision's detector or segmentor, exported by torch.onnx.export; images are then those "
        'that the files take, one at a time by default',
    )
    group.add_argument(
        '--runtimes',
        nargs='+',
        choices=('onnxruntime', 'openvino', 'opencv'),
        default=['onnxruntime'],
        help='of .onnx files; OpenVINO also in float32 if its own choice is bfloat16 (default: '
        'onnxruntime)',
    )
    group.add_argument(
        '--metrics',
        nargs='+',
        metavar='JSON',
        default=[],
        help='what tools/test.py --json wrote: the metrics are in the rows of the files tested',
    )
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='append the tables to a file')
    return parser


def check_options(cfg: 'Config', args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if args.whole and cfg.default_scope not in ('mmdet', 'mmseg'):
        raise InputError(f'--whole is for detectors and segmentors; {args.config} is neither')
    if args.runs < 2:
        raise InputError(f'--runs {args.runs}: the spread needs 2 calls or more')
    if args.exported and (args.backward or args.with_cp):
        raise InputError('exported files have no backward pass: leave out --backward and --with-cp')
    if args.metrics and not args.exported:
        raise InputError('--metrics is for the files of --exported')


def check_task(cfg: 'Config', file: 'ExportedFile') -> None:
    """Refuse a config of another task than that of the files."""
    from edgenext_mm.export.model import TASKS

    task, own = file.metadata['task'], TASKS.get(cfg.default_scope)
    if task not in ('features', own):
        raise InputError(f'{file.path} is for {task}, and {cfg.filename} for {own}')


def main() -> None:
    args = parse_args(make_parser())

    from edgenext_mm.analysis.benchmark import benchmark, exported_table, table
    from edgenext_mm.analysis.exported import open_files, shape_for
    from edgenext_mm.analysis.metrics import read_tested

    if args.against:
        args.against = args.against.resolve()
        check_file(args.against / 'edgenext_mm' / '__init__.py')
    cfg = load_config(args)
    tests = read_tested(args.metrics)
    check_options(cfg, args)
    command = ' '.join(sys.argv[1:]).partition(' --markdown')[0]
    batch_sizes = args.batch_sizes or ([1] if args.exported else [1, 16])
    peers = args.peers
    with ExitStack() as stack:
        files = open_files(args.exported, args.threads, args.runtimes)
        for file in files:
            stack.enter_context(file)
        height, width = shape_for(files, args.shape, batch_sizes)
        if files:
            check_task(cfg, files[0])
            args.whole = files[0].metadata['task'] != 'features'
            peers = ['timm'] if args.peers else []
        for batch_size in batch_sizes:
            results, peaks = benchmark(
                cfg,
                prepare_process,
                batch_size,
                (height, width),
                args.threads,
                args.runs,
                args.backward,
                args.against,
                files,
                whole=args.whole,
                forms=args.forms,
                with_cp=args.with_cp,
                peers=peers,
            )
            if files:
                rows = exported_table(results, batch_size, args.threads, tests)
            else:
                rows = table(results, max(peaks.values()), batch_size, args.backward)
            peak = ' and '.join(f'{speed / 1e9:.0f} ({name})' for name, speed in peaks.items())
            text = (
                f'`tools/benchmark.py {command}`: {batch_size} x {height}x{width}, {args.threads} '
                f'threads, peak {peak} GMAdds/s\n\n{rows}\n'
            )
            print(f'\n{text}')
            if args.markdown:
                with args.markdown.open('a') as output:
                    output.write(f'\n{text}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
