"""Write a drawn demo dataset in the layouts of COCO 2017, Pascal VOC 2012 and ImageNet."""

import argparse
from pathlib import Path

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=400, help='training images (default: 400)')
    parser.add_argument('--val', type=int, default=100, help='validation images (default: 100)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the scenes (default: 0)')
    args = parse_args(parser)

    from edgenext_mm.datasets.demo import make_demo_data

    drawn = make_demo_data(args.out, args.train, args.val, args.seed)
    what = f'{args.train} training and {args.val} validation images of seed {args.seed}'
    print(f'wrote {what} to {args.out}' if drawn else f'{args.out} already holds {what}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
