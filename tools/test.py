"""Evaluate a checkpoint of a detector, segmentor or classifier."""

import argparse
from typing import TYPE_CHECKING

from edgenext_mm.cli import check_checkpoint, load_runner_config, parse_args, runner_parser
from edgenext_mm.errors import InputError, exit_on_input_error

if TYPE_CHECKING:
    from mmengine.config import Config


def make_parser() -> argparse.ArgumentParser:
    parser = runner_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or for classifiers a short name such as edgenext://small',
    )
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions to this file')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir',
        help='draw the predictions into this folder; that of mmdet is in work_dir/timestamp',
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds each window stays')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser


def show_predictions(cfg: 'Config', args: argparse.Namespace) -> None:
    """Switch on the drawing of predictions, for which each library has options of its own."""
    hook = cfg.default_hooks.visualization
    hook.update(show=args.show, wait_time=args.wait_time)
    if cfg.default_scope == 'mmdet':
        hook.update(draw=True, test_out_dir=args.show_dir)
    elif cfg.default_scope == 'mmseg':
        hook.update(draw=True, interval=1)  # mmseg 1.2.2 skips images in tests as well
        cfg.visualizer.save_dir = args.show_dir
    else:
        hook.update(enable=True, interval=1, out_dir=args.show_dir)


def main() -> None:
    args = parse_args(make_parser(), trains=True)

    from mmengine.config import ConfigDict
    from mmengine.registry import METRICS, RUNNERS

    cfg = load_runner_config(args)
    cfg.load_from = check_checkpoint(args.checkpoint, cfg)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise InputError(f'--out {args.out} is not the name of a .pkl file')
    if args.show or args.show_dir:
        show_predictions(cfg, args)
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise InputError(f'{args.config} has no tta_model and tta_pipeline for --tta')
        cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    runner = RUNNERS.build(cfg)
    if args.out:
        # mmdet's own dump encodes masks; other libraries take mmengine's.
        dump = METRICS.get(f'{cfg.default_scope}.DumpDetResults') or METRICS.get('DumpResults')
        runner.test_evaluator.metrics.append(dump(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    with exit_on_input_error():
        main()
