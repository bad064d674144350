"""Convert an EdgeNeXt checkpoint to the names of another family, or a model of CVNets to ours."""

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
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument(
        '--to',
        choices=NAMES,
        help='whose names; safetensors are those of edgenext_mm in a .safetensors file',
    )
    way.add_argument(
        '--from',
        dest='source',
        choices=['cvnets'],
        help='a DeepLabv3 of CVNets, such as edgenext://deeplabv3_small_voc, or an SSDLite, for '
        'load_from and the tools: the whole model, with our names',
    )
    args = parse_args(parser)

    from edgenext_mm.deploy import convert, convert_cvnets

    if args.source:
        print(f'wrote {convert_cvnets(args.checkpoint, args.out)} to {args.out}')
        return
    arch, has_head, left_out = convert(args.checkpoint, args.out, args.to)
    print(f'wrote {arch} {"with" if has_head else "without"} a classifier to {args.out}')
    if left_out:
        names = ', '.join(left_out[:3] + ['...'] * (len(left_out) > 3))
        print(f'left out {len(left_out)} other tensors of {args.checkpoint}: {names}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
