"""Predict images, videos or a camera, by an exported file or by a config and its checkpoint."""

import argparse

from edgenext_mm.cli import load_model, model_parser, parse_model_args
from edgenext_mm.errors import InputError, exit_on_input_error

SHOWN = 20  # faults


def make_parser() -> argparse.ArgumentParser:
    parser = model_parser(__doc__)
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help="image, video, folder, pattern such as 'data/*.jpg', or number of a camera",
    )
    parser.add_argument('--out-dir', help='folder for the images with what was found drawn in')
    parser.add_argument(
        '--json',
        metavar='FILE',
        help="detectors: write COCO's results, with the name of each file; image_id counts from 1, "
        'category_id is the number of the class from 1',
    )
    parser.add_argument('--masks', metavar='FOLDER', help='segmentors: PNG files with a palette')
    parser.add_argument('--csv', metavar='FILE', help='classifiers: the best five classes of each')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='leave out objects below (default: 0.3)'
    )
    return parser


def main() -> None:
    args = parse_model_args(make_parser())
    if not any((args.out_dir, args.json, args.masks, args.csv)):
        raise InputError('nothing would be written: set --out-dir, --json, --masks or --csv')

    from edgenext_mm.analysis import inference

    sources = inference.find_sources(args.inputs)
    predict, color_type = load_model(args)
    outputs = dict(out_dir=args.out_dir, json=args.json, masks=args.masks, csv=args.csv)
    writer = inference.Writer(**outputs, score_thr=args.score_thr)
    done, faults = inference.infer(predict, color_type, sources, writer)
    written = ', '.join(path for path in outputs.values() if path)
    print(f'predicted {done} images, wrote {written}')
    if faults:
        more = [f'and {len(faults) - SHOWN} more'] * (len(faults) > SHOWN)
        raise InputError('\n'.join([f'{len(faults)} faults:', *faults[:SHOWN], *more]))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
