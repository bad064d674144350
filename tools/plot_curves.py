"""Draw the curves of the training loss and of a validation metric that a work directory logged."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.errors import InputError, exit_on_input_error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of tools/train.py')
    parser.add_argument('--out', help='picture to write (default: WORK_DIR/curves.png)')
    parser.add_argument('--metrics', nargs='+', default=['coco/bbox_mAP', 'coco/bbox_mAP_50'])
    args = parser.parse_args()

    train, val = read_scalars(args.work_dir)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
    left.plot(train.keys(), [row['loss'] for row in train.values()])
    left.set(xlabel='iteration', ylabel='training loss', yscale='log')
    for metric in args.metrics:
        values = {step: row[metric] for step, row in val.items() if metric in row}
        if not values:
            raise InputError(f'{args.work_dir} has no validation that logged {metric}')
        right.plot(values.keys(), values.values(), marker='o', label=metric)
    by_epoch = any('epoch' in row for row in train.values())
    right.set(xlabel='epoch' if by_epoch else 'iteration', ylim=(0, None))
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    out = args.out or Path(args.work_dir) / 'curves.png'
    figure.savefig(out, dpi=100)
    print(f'wrote {out}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
