"""Read all data of a config: summarize it as tables and a picture, and name the files at fault."""

from pathlib import Path

from edgenext_mm.cli import config_parser, load_config, parse_args
from edgenext_mm.errors import InputError, exit_on_input_error

SHOWN = 20  # problems of a dataset


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--out', help='picture to write (default: work_dirs/CONFIG/dataset.png)')
    parser.add_argument('--processes', type=int, help='default: one per CPU')
    args = parse_args(parser)

    from mmengine.registry import init_default_scope

    from edgenext_mm.analysis.summary import draw_summaries, summarize

    cfg = load_config(args)
    init_default_scope(cfg.default_scope)
    summaries = summarize(cfg, args.processes)
    for summary in summaries:
        print(f'\n{summary.table()}')
    if any(summary.image_sizes for summary in summaries):
        out = Path(args.out or Path('work_dirs', Path(args.config).stem, 'dataset.png'))
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_summaries(summaries, out)
        print(f'\nwrote {out}')
    problems = [
        line
        for summary in summaries
        if summary.problems
        for line in (
            f'{summary.name} data, problems: {len(summary.problems)}',
            *(f'  {problem}' for problem in summary.problems[:SHOWN]),
        )
    ]
    if problems:
        raise InputError('\n'.join(problems))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
