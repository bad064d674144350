"""Open a page on which an exported file, or a config and its checkpoint, predicts images."""

import argparse
from pathlib import Path

from edgenext_mm.cli import load_model, model_parser, parse_model_args
from edgenext_mm.errors import exit_on_input_error


def make_parser() -> argparse.ArgumentParser:
    parser = model_parser(__doc__)
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='leave out objects below (default: 0.3)'
    )
    parser.add_argument(
        '--examples',
        metavar='FOLDER',
        help='of images to choose from (default: data/demo/val2017 if it is there)',
    )
    parser.add_argument(
        '--host', default='127.0.0.1', help='0.0.0.0 for all of the network (default: 127.0.0.1)'
    )
    parser.add_argument('--port', type=int, default=7860, help='(default: 7860)')
    return parser


def main() -> None:
    args = parse_model_args(make_parser())

    from edgenext_mm.export.options import check_packages

    check_packages(['gradio'], 'demo')

    from edgenext_mm.analysis import page

    with page.listen(args.host, args.port) as address:
        examples = page.find_examples(args.examples)
        predict, color_type = load_model(args)
        name = Path(args.model).name
        page.serve(
            address, lambda: page.build_page(predict, color_type, name, examples, args.score_thr)
        )


if __name__ == '__main__':
    with exit_on_input_error():
        main()
