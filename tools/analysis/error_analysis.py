"""Show where a model is wrong on the test set: by class, size, kind of error and image."""

from edgenext_mm.cli import build_tester, config_parser, load_runner_config, parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = config_parser(__doc__)
    parser.set_defaults(launcher='none', local_rank=0)
    parser.add_argument('checkpoint', help='checkpoint, or a file of tools/export.py')
    parser.add_argument('--work-dir', help='where the log goes')
    parser.add_argument('--json', metavar='FILE', help='write all that was found')
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='detections below count for AP alone (default: 0.3)',
    )
    args = parse_args(parser)

    from edgenext_mm.analysis.errors import find_errors
    from edgenext_mm.analysis.summary import write

    cfg = load_runner_config(args)
    report = find_errors(build_tester(cfg, args.checkpoint), args.score_thr)
    print(report.text())
    if args.json:
        write(args.json, report.as_json().encode())


if __name__ == '__main__':
    with exit_on_input_error():
        main()
