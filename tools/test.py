"""Evaluate a checkpoint, or an exported file, of a detector, segmentor or classifier."""

import argparse
from typing import TYPE_CHECKING

from edgenext_mm.cli import build_tester, load_runner_config, parse_args, runner_parser
from edgenext_mm.errors import InputError, exit_on_input_error

if TYPE_CHECKING:
    from mmengine.config import Config


def make_parser() -> argparse.ArgumentParser:
    parser = runner_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        metavar='FILE',
        help='checkpoint, or for classifiers a short name such as edgenext://small; or a file of '
        'tools/export.py, which reads and prepares the images itself',
    )
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions to this file')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir',
        help='draw annotations and predictions, side by side, into this folder',
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds each window stays')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--json', metavar='FILE', help='write the metrics to this file, for tools/benchmark.py'
    )
    group = parser.add_argument_group('exported files')
    group.add_argument('--runtime', help='such as openvino for .onnx (default: by the suffix)')
    group.add_argument('--threads', type=int, help="of the runtime (default: the runtime's choice)")
    group.add_argument(
        '--precision',
        choices=('f32', 'bf16', 'f16'),
        help='of OpenVINO (default: bf16 where the processor has it)',
    )
    return parser


def show_predictions(cfg: 'Config', wait_time: float) -> None:
    """Have the predictions shown in a window, for which each library has an option of its own."""
    switch = 'enable' if cfg.default_scope == 'mmpretrain' else 'draw'
    hook = {switch: True, 'interval': 1}  # mmseg 1.2.2 skips images in tests as well
    cfg.default_hooks.visualization.update(show=True, wait_time=wait_time, **hook)


def check_options(args: argparse.Namespace, exported: bool) -> None:
    """Check that the options are for a file of this kind."""
    if not exported:
        for option in ('runtime', 'threads', 'precision'):
            if getattr(args, option) is not None:
                raise InputError(f'--{option} is for exported files, not for {args.checkpoint}')
        return
    for option, reason in (
        (
            'tta',
            'test-time augmentation is in the pipeline of the config, and the file has its own',
        ),
        ('launcher', 'it is tested in one process; --threads says how many threads that has'),
    ):
        if getattr(args, option) not in (False, 'none'):
            raise InputError(f'--{option} is not for {args.checkpoint}, an exported file: {reason}')


def main() -> None:
    args = parse_args(make_parser(), trains=True)

    from mmengine.config import ConfigDict
    from mmengine.registry import METRICS

    from edgenext_mm.analysis.inference import color_type_of
    from edgenext_mm.analysis.metrics import tested, write_tested
    from edgenext_mm.analysis.pictures import PicturesHook
    from edgenext_mm.export.files import is_exported

    cfg = load_runner_config(args)
    exported = is_exported(args.checkpoint)
    check_options(args, exported)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise InputError(f'--out {args.out} is not the name of a .pkl file')
    if args.show:
        show_predictions(cfg, args.wait_time)
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise InputError(f'{args.config} has no tta_model and tta_pipeline for --tta')
        cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    runner = build_tester(cfg, args.checkpoint, args.runtime, args.threads, args.precision)
    if args.show_dir:
        runner.register_hook(PicturesHook(args.show_dir, color_type_of(cfg)))
    if args.out:
        # mmdet's own dump encodes masks; other libraries take mmengine's.
        dump = METRICS.get(f'{cfg.default_scope}.DumpDetResults') or METRICS.get('DumpResults')
        runner.test_evaluator.metrics.append(dump(out_file_path=args.out))
    metrics = runner.test()
    if args.json:
        session = runner.model.predictor.session if exported else None
        write_tested(args.json, tested(cfg, args.checkpoint, metrics, session))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
