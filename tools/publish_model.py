"""Strip a checkpoint of tools/train.py to its weights, and add a hash to its name."""

import argparse

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='file to write, such as ssdlite_edgenext_small_coco.pth')
    args = parse_args(parser)

    from edgenext_mm.deploy import publish

    print(f'wrote {publish(args.checkpoint, args.out)}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
