"""Predict images, videos or a camera, by an exported file or by a config and its checkpoint."""

import argparse

from edgenext_mm.cli import check_checkpoint, load_config, parse_args
from edgenext_mm.errors import InputError, exit_on_input_error

SHOWN = 20  # faults


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='file of tools/export.py, or a config with --checkpoint')
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
    parser.add_argument(
        '--runtime',
        choices=['onnxruntime', 'openvino', 'opencv', 'litert', 'ncnn'],
        help="of an exported file (default: its suffix's)",
    )
    parser.add_argument('--threads', type=int, help="of an exported file's runtime")
    parser.add_argument(
        '--precision', help='of OpenVINO, such as f32 (default: bfloat16 where the CPU has it)'
    )
    parser.add_argument('--checkpoint', '--weights', help='of a config')
    parser.add_argument('--device', help='of a config, such as cpu or cuda:0')
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE'
    )
    return parser


def main() -> None:
    args = parse_args(make_parser())
    of_config = dict(checkpoint=args.checkpoint, device=args.device, cfg_options=args.cfg_options)
    of_file = dict(runtime=args.runtime, threads=args.threads, precision=args.precision)
    is_config = args.model.endswith('.py')
    for name, value in (of_file if is_config else of_config).items():
        if value:
            kind = 'exported files' if is_config else 'configs'
            raise InputError(f'--{name.replace("_", "-")} is for {kind}, and not for {args.model}')
    if is_config and not args.checkpoint:
        raise InputError(f'{args.model} needs its weights: --checkpoint FILE')
    if not any((args.out_dir, args.json, args.masks, args.csv)):
        raise InputError('nothing would be written: set --out-dir, --json, --masks or --csv')

    from edgenext_mm.analysis import inference

    sources = inference.find_sources(args.inputs)
    if is_config:
        args.config = args.model
        cfg = load_config(args)
        checkpoint = check_checkpoint(args.checkpoint, cfg)
        predict, color_type = inference.load_inferencer(cfg, checkpoint, args.device)
    else:
        predict, color_type = inference.load_predictor(args.model, **of_file)
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
