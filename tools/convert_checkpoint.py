"""Convert an EdgeNeXt checkpoint of any family to the names of another."""

import argparse

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error

NAMES = ('edgenext_mm', 'reference', 'timm', 'mmpretrain', 'safetensors')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoint', metavar='SRC', help='file, URL, or a short name such as edgenext://small'
    )
    parser.add_argument('out', metavar='DST', help='file to write')
    parser.add_argument(
        '--to',
        required=True,
        choices=NAMES,
        help='whose names; safetensors are those of edgenext_mm in a .safetensors file',
    )
    args = parse_args(parser)

    from edgenext_mm.deploy import convert

    arch, has_head, left_out = convert(args.checkpoint, args.out, args.to)
    print(f'wrote {arch} {"with" if has_head else "without"} a classifier to {args.out}')
    if left_out:
        names = ', '.join(left_out[:3] + ['...'] * (len(left_out) > 3))
        print(f'left out {len(left_out)} other tensors of {args.checkpoint}: {names}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
