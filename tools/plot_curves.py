"""Draw the curves of the training loss and of a validation metric that a work directory logged."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from edgenext_mm.errors import InputError, exit_on_input_error


def read_scalars(work_dir):
    """Read what all runs of a work directory logged, resumed ones after those they continue."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise InputError(f'{work_dir} has no */vis_data/scalars.json: has a run logged there?')
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of tools/train.py')
    parser.add_argument('--out', help='picture to write (default: WORK_DIR/curves.png)')
    parser.add_argument('--metrics', nargs='+', default=['coco/bbox_mAP', 'coco/bbox_mAP_50'])
    args = parser.parse_args()

    scalars = read_scalars(args.work_dir)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
    train = {row['iter']: row['loss'] for row in scalars if 'loss' in row}
    left.plot(*zip(*sorted(train.items()), strict=True))
    left.set(xlabel='iteration', ylabel='training loss', yscale='log')
    for metric in args.metrics:
        values = {row['step']: row[metric] for row in scalars if metric in row}
        if not values:
            raise InputError(f'{args.work_dir} has no validation that logged {metric}')
        right.plot(*zip(*sorted(values.items()), strict=True), marker='o', label=metric)
    right.set(xlabel='epoch', ylim=(0, None))
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    out = args.out or Path(args.work_dir) / 'curves.png'
    figure.savefig(out, dpi=100)
    print(f'wrote {out}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
