"""Write a trained model as one file for another runtime, and check it there beside PyTorch."""

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from edgenext_mm.cli import (
    build_tester,
    check_checkpoint,
    config_parser,
    load_config,
    load_runner_config,
    parse_args,
    positive,
)
from edgenext_mm.errors import exit_on_input_error
from edgenext_mm.export.options import (
    CALIBRATION_IMAGES,
    FORMATS,
    TARGETS,
    Options,
    check_packages,
)


def make_parser() -> argparse.ArgumentParser:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file, or for classifiers a short name')
    parser.add_argument('--format', choices=FORMATS, default='onnx', help='default: onnx')
    parser.add_argument('--out', type=Path, metavar='PATH', help='default: <config>.<suffix>')
    parser.add_argument(
        '--size',
        type=positive,
        nargs=2,
        metavar=('H', 'W'),
        help="of the input (default: the config's)",
    )
    parser.add_argument(
        '--dynamic',
        nargs='+',
        choices=('batch', 'size'),
        default=[],
        help='take any number of images, or images of any size',
    )
    parser.add_argument('--half', action='store_true', help='float16 weights')
    parser.add_argument('--int8', action='store_true', help='weights and activations of 8 bits')
    parser.add_argument(
        '--calibration-images',
        type=positive,
        metavar='N',
        help=f'of the training set, from which --int8 takes ranges (default: {CALIBRATION_IMAGES})',
    )
    parser.add_argument(
        '--float-layers',
        nargs='*',
        metavar='MODULE',
        help='modules, such as backbone.stages.3 or bbox_head.*_convs.*.1, that --int8 leaves as '
        'they are (default: the last layers)',
    )
    parser.add_argument(
        '--max-drop',
        type=float,
        metavar='POINTS',
        help='of 100 that --int8 may lose of the metric on the test set: until it does not, some '
        'layers are left as they are (default: any loss)',
    )
    parser.add_argument('--nms', action='store_true', help='non-maximum suppression in the file')
    parser.add_argument(
        '--raw', action='store_true', help="the head's outputs: boxes to decode, or logits"
    )
    parser.add_argument('--backbone', action='store_true', help='the maps of the backbone alone')
    parser.add_argument(
        '--target', choices=TARGETS, help='restrict an ONNX file to operations that this has'
    )
    parser.add_argument(
        '--opset', type=int, help='of ONNX, 17 or 13 (default: 17, or that of --target)'
    )
    return parser


def judge(args: argparse.Namespace, folder: str, file: str) -> tuple[str, float]:
    """Test a checkpoint or a file, and return the metric's name and its points of 100."""
    from edgenext_mm.analysis.metrics import in_points, tested

    args.work_dir, args.launcher, args.local_rank = folder, 'none', 0
    cfg = load_runner_config(args)
    found = tested(cfg, file, build_tester(cfg, file).test())
    return found.metric, in_points(cfg, found.value)


def main() -> None:
    args = make_parser().parse_args()
    options = Options(
        args.format,
        size=tuple(args.size) if args.size else None,
        dynamic=tuple(args.dynamic),
        half=args.half,
        int8=args.int8,
        nms=args.nms,
        raw=args.raw,
        backbone=args.backbone,
        opset=args.opset or TARGETS.get(args.target, 17),
        target=args.target,
        calibration_images=args.calibration_images,
        float_layers=None if args.float_layers is None else tuple(args.float_layers),
        max_drop=args.max_drop,
    )
    own = FORMATS[args.format]
    check_packages(own.packages, own.extra)
    args = parse_args(make_parser())

    from edgenext_mm.export.accuracy import export_within
    from edgenext_mm.export.api import drawn_images, export, test_images
    from edgenext_mm.export.tensorrt import advice

    cfg = load_config(args)
    checkpoint = check_checkpoint(args.checkpoint, cfg)
    precision = '_half' if args.half else '_int8' if args.int8 else ''
    out = args.out or Path(f'{Path(args.config).stem}{precision}{own.suffix}')
    with TemporaryDirectory() as folder:
        images = test_images(cfg) or drawn_images(folder)
        what = cfg, checkpoint, options, out, images
        if options.max_drop is None:
            report = export(*what)
        else:
            report = export_within(*what, partial(judge, args, folder))
    written = [out, out.with_suffix('.bin')] if args.format == 'openvino' else [out]
    files = [file for path in written for file in (path, *path.rglob('*')) if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    print(f'{report}\nwrote {out} ({size:.1f} MiB)')
    if args.target:
        print(advice(out, args.target))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
