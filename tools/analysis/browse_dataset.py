"""Draw what the network gets: images after the augmentation of a config, with their annotations."""

from pathlib import Path

from edgenext_mm.cli import config_parser, load_config, parse_args, positive
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--number', type=positive, default=16, help='of images (default: 16)')
    parser.add_argument('--seed', type=int, default=0, help='of order and augmentation')
    parser.add_argument('--out', help='picture to write (default: work_dirs/CONFIG/SPLIT.png)')
    args = parse_args(parser)

    from mmengine.registry import init_default_scope

    from edgenext_mm.analysis.pictures import browse, save

    cfg = load_config(args)
    init_default_scope(str(cfg.get('default_scope', 'mmengine')))
    out = args.out or Path('work_dirs', Path(args.config).stem, f'{args.split}.png')
    save(browse(cfg, args.split, args.number, args.seed), out)
    print(f'wrote {out}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
