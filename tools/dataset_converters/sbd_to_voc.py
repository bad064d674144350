"""Add the masks of the Semantic Boundaries Dataset to Pascal VOC 2012, as SegmentationClassAug."""

import argparse

from edgenext_mm.cli import parse_args, positive
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sbd_root', help='folder of SBD (benchmark_RELEASE), with dataset/cls/')
    parser.add_argument('voc_root', help='folder VOC2012, which gets SegmentationClassAug/')
    parser.add_argument('--processes', type=positive, help='default: one per CPU')
    args = parse_args(parser)

    from edgenext_mm.datasets.converters.sbd_to_voc import convert_sbd

    count = convert_sbd(args.sbd_root, args.voc_root, args.processes)
    print(f'{args.voc_root}/SegmentationClassAug holds the {count} masks that trainaug.txt lists')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
