"""Draw the curves of the training loss and of a validation metric that a work directory logged."""

import argparse
from pathlib import Path

from edgenext_mm.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of tools/train.py')
    parser.add_argument('--out', help='picture to write (default: WORK_DIR/curves.png)')
    parser.add_argument('--metrics', nargs='+', default=['coco/bbox_mAP', 'coco/bbox_mAP_50'])
    args = parser.parse_args()

    from edgenext_mm.analysis.logs import draw_curves

    out = args.out or Path(args.work_dir) / 'curves.png'
    draw_curves(args.work_dir, out, args.metrics)
    print(f'wrote {out}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
