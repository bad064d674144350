"""Print the parameters and multiply-adds of a config's model and of its parts."""

from edgenext_mm.cli import config_parser, load_config, parse_args, positive
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--shape',
        type=positive,
        nargs=2,
        default=[320, 320],
        metavar=('HEIGHT', 'WIDTH'),
        help='pixels of the image (default: 320 320)',
    )
    args = parse_args(parser)

    from mmengine.registry import MODELS, init_default_scope

    from edgenext_mm.analysis.complexity import count_complexity

    cfg = load_config(args)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    print('| part | parameters (M) | MAdds (G) |\n|---|---|---|')
    for name, (parameters, multiply_adds) in count_complexity(model, args.shape).items():
        print(f'| {name} | {parameters / 1e6:.3f} | {multiply_adds / 1e9:.3f} |')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
