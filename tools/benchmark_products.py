"""Print the times of the products and norms that the layers of EdgeNeXt-S can be on this CPU."""

import argparse

from edgenext_mm.cli import parse_args, positive
from edgenext_mm.errors import exit_on_input_error

# Channels and side of the maps of the four stages at 256x256.
STAGES = ((48, 64), (96, 32), (160, 16), (304, 8))
HEADS = 8


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-sizes', type=positive, nargs='+', default=[1, 16])
    parser.add_argument('--threads', type=positive, nargs='+', default=[1, 2])
    parser.add_argument('--runs', type=positive, default=20, help='calls of each (default: 20)')
    return parser


def main() -> None:
    args = parse_args(make_parser())

    import torch

    from edgenext_mm.analysis.products import PRODUCTS, measure_norms, measure_products

    names, norms = [' (us) | '.join(columns) for columns in (PRODUCTS, ('F.normalize', 'sum'))]
    print(f'| threads | images | layer | side | {names} (us) |\n{"|---" * (4 + len(PRODUCTS))}|')
    cases = [(threads, n) for threads in args.threads for n in args.batch_sizes]
    for threads, batch_size in cases:
        torch.set_num_threads(threads)
        for dim, side in STAGES:
            for shape in ((dim, 4 * dim), (4 * dim, dim)):
                seconds = measure_products(*shape, side, batch_size, args.runs)
                print_row(threads, batch_size, '{} to {}'.format(*shape), side, seconds)
    print(f'\n| threads | images | attention | side | {norms} of squares (us) |\n{"|---" * 6}|')
    for threads, batch_size in cases:
        torch.set_num_threads(threads)
        for dim, side in STAGES[1:]:
            seconds = measure_norms(HEADS, dim // HEADS, side**2, batch_size, args.runs)
            print_row(threads, batch_size, f'{HEADS} x {dim // HEADS}', side, seconds)


def print_row(threads: int, images: int, layer: str, side: int, seconds: dict[str, float]) -> None:
    times = ' | '.join(f'{1e6 * value:.0f}' for value in seconds.values())
    print(f'| {threads} | {images} | {layer} | {side} | {times} |', flush=True)


if __name__ == '__main__':
    with exit_on_input_error():
        main()
