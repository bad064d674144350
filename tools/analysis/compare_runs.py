"""Print what runs of several configs and seeds reach, and what training and prediction cost."""

import argparse
import os

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of tools/train.py, of one run; those of a config are one row',
    )
    parser.add_argument(
        '--calls',
        type=int,
        default=20,
        help='of each model, exported to ONNX, an image at a time (default: 20); 0: no latency',
    )
    parser.add_argument(
        '--threads', type=int, default=min(os.cpu_count() or 1, 2), help='of ONNX Runtime'
    )
    args = parse_args(parser)

    from edgenext_mm.analysis.comparison import compare_runs, table

    print(table(*compare_runs(args.work_dirs, args.threads, args.calls)))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
