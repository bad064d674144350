"""Print where the time of training goes, from reading an image to saving a checkpoint."""

from edgenext_mm.cli import load_runner_config, parse_args, positive, runner_parser
from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = runner_parser(__doc__)
    parser.add_argument('--iterations', type=positive, default=20, help='how many (default: 20)')
    parser.add_argument('--samples', type=positive, default=200, help='images (default: 200)')
    args = parse_args(parser, trains=True)

    from mmengine.registry import RUNNERS

    from edgenext_mm.analysis.profiling import (
        Profiled,
        ProfileHook,
        profile_checkpoints,
        profile_transforms,
        table,
    )

    cfg = load_runner_config(args)
    cfg.log_level = 'WARNING'
    cfg.train_cfg.val_interval = 10**9
    cfg.default_hooks.checkpoint = None
    cfg.compile = False  # the parts are measured one by one
    runner = RUNNERS.build(cfg)
    hook = ProfileHook(args.iterations)
    runner.register_hook(hook, 'VERY_LOW')
    try:
        runner.train()
    except Profiled:
        loader = runner.train_dataloader
        title = f'one image of {args.samples}, in one process'
        size = getattr(loader.batch_sampler, 'base_size', None)
        print(table(title, profile_transforms(loader.dataset, args.samples, size)))
        title = f'one iteration of {args.iterations} in batches of {loader.batch_size}'
        print(f'\n{table(title, hook.medians())}')
        size, parts, compared = profile_checkpoints(runner)
        print(f'\n{table(f"one checkpoint of {size / 2**20:.1f} MiB", parts)}')
        print(f'\nIts checksums are compared in {1e3 * compared:.2f} ms before a run resumes.')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
