"""Turn COCO's instances of Pascal VOC's 20 classes into masks in the format of VOC."""

import argparse

from edgenext_mm.cli import parse_args, positive
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('coco_root', help='folder of COCO 2017, with annotations/')
    parser.add_argument('out', help='folder to write; the configs expect COCO_ROOT/voc')
    parser.add_argument('--processes', type=positive, help='default: one per CPU')
    args = parse_args(parser)

    from edgenext_mm.datasets.converters.coco_to_voc import convert_coco

    for split, count in convert_coco(args.coco_root, args.out, args.processes).items():
        print(f'{args.out}/{split} holds {count} masks, which {split}.txt lists')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
