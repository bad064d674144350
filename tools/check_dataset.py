"""Read all data of a config: summarize it as tables and a picture, and name the files at fault."""

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path

from edgenext_mm.cli import config_parser, load_config, parse_args, positive
from edgenext_mm.errors import InputError, exit_on_input_error

SHOWN = 20  # problems of a dataset


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--out', help='picture to write (default: work_dirs/CONFIG/dataset.png)')
    parser.add_argument(
        '--json', metavar='FILE', help='write what was found with all names; - prints it, alone'
    )
    parser.add_argument('--processes', type=positive, help='default: one per CPU')
    args = parse_args(parser)

    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    from edgenext_mm.analysis import summary as analysis

    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    printed = sys.stdout
    with redirect_stdout(sys.stderr if args.json == '-' else printed):
        cfg = load_config(args)
        init_default_scope(str(cfg.get('default_scope', 'mmengine')))
        summaries = analysis.summarize(cfg, args.processes)
        remarks = analysis.compare(summaries)
        for summary in summaries:
            print('', summary.table(), *summary.noted(), sep='\n')
        if remarks:
            print('', *(remark.message for remark in remarks), sep='\n')
        if args.json == '-':
            print(analysis.as_json(summaries, remarks), file=printed)
        elif args.json:
            analysis.write(args.json, analysis.as_json(summaries, remarks).encode())
        if any(summary.image_sizes for summary in summaries):
            out = args.out or Path('work_dirs', Path(args.config).stem, 'dataset.png')
            analysis.draw_summaries(summaries, out)
            print(f'\nwrote {out}')
        if not any(summary.problems for summary in summaries):
            print(f'\n{analysis.verdict(summaries)}')
            return
    found = [line for summary in summaries for line in summary.found_wrong(SHOWN)]
    raise InputError('\n'.join([*found, analysis.verdict(summaries)]))


if __name__ == '__main__':
    with exit_on_input_error():
        main()
