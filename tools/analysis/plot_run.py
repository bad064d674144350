"""Draw losses, learning rates and validation metrics of runs, side by side."""

import argparse
from pathlib import Path

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs', nargs='+', metavar='WORK_DIR', help='work directory of tools/train.py'
    )
    parser.add_argument(
        '--out', help='picture, or .html for one page (default: curves.png in the first WORK_DIR)'
    )
    parser.add_argument('--metrics', nargs='+', default=[], help='of validation (default: all)')
    args = parse_args(parser)

    from edgenext_mm.analysis.curves import draw_runs

    out = args.out or Path(args.work_dirs[0]) / 'curves.png'
    draw_runs(args.work_dirs, out, args.metrics)
    print(f'wrote {out}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
