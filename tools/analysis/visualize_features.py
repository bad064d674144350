"""Draw heat maps of the backbone's stages, and of their attention heads, over an image."""

from pathlib import Path

from edgenext_mm.cli import check_checkpoint, config_parser, load_config, parse_args
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='weights of the whole model')
    parser.add_argument('image', help='file')
    parser.add_argument('--out', help='picture to write (default: work_dirs/CONFIG/features.png)')
    args = parse_args(parser)

    from edgenext_mm.analysis.features import draw_features
    from edgenext_mm.analysis.summary import render, write

    cfg = load_config(args)
    figure = draw_features(cfg, check_checkpoint(args.checkpoint, cfg), args.image)
    out = args.out or Path('work_dirs', Path(args.config).stem, 'features.png')
    write(out, render(figure, out))
    print(f'wrote {out}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
