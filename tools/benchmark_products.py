"""Print the times of the products that a linear layer of EdgeNeXt-S can be on this CPU."""

import argparse

from edgenext_mm.cli import parse_args
from edgenext_mm.errors import exit_on_input_error

# Channels and side of the maps of the four stages at 256x256.
STAGES = ((48, 64), (96, 32), (160, 16), (304, 8))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 16])
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--runs', type=int, default=20, help='calls of each (default: 20)')
    return parser


def main() -> None:
    args = parse_args(make_parser(), spins=True)

    import torch

    from edgenext_mm.analysis.products import NAMES, measure_products

    print(f'| threads | images | layer | side | {" (us) | ".join(NAMES)} (us) |')
    print('|---' * (4 + len(NAMES)) + '|')
    for threads in args.threads:
        torch.set_num_threads(threads)
        for batch_size in args.batch_sizes:
            for dim, side in STAGES:
                for shape in ((dim, 4 * dim), (4 * dim, dim)):
                    seconds = measure_products(*shape, side, batch_size, args.runs)
                    cells = [threads, batch_size, '{} to {}'.format(*shape), side]
                    cells += [f'{1e6 * seconds[name]:.0f}' for name in NAMES]
                    print(f'| {" | ".join(map(str, cells))} |', flush=True)


if __name__ == '__main__':
    with exit_on_input_error():
        main()
