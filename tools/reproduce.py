"""Print tables of the paper, beside what was trained here and what is left to train."""

import argparse
from pathlib import Path

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'table', choices=['1', '2', '3', '4', 'all'], help='its number in the paper'
    )
    parser.add_argument(
        '--work-dirs',
        type=Path,
        default=Path('work_dirs'),
        help='folder of work directories with the names of their configs (default: work_dirs)',
    )
    parser.add_argument('--out', help='file to write them to as well, such as reproduction.md')
    args = parse_args(parser)

    from edgenext_mm.analysis.reproduction import TABLES, render_tables
    from edgenext_mm.analysis.summary import write

    numbers = [*TABLES] if args.table == 'all' else [int(args.table)]
    page = render_tables(numbers, args.work_dirs)
    print(page, end='')
    if args.out:
        write(args.out, page.encode())


if __name__ == '__main__':
    with exit_on_input_error():
        main()
