"""Write docs/model_zoo.md: the published checkpoints, and the experiments of the paper."""

import argparse
from pathlib import Path

from edgenext_mm.cli import parse_args

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'model_zoo.md')
    args = parse_args(parser)

    from edgenext_mm.analysis.model_zoo import render_model_zoo

    args.out.write_text(render_model_zoo(ROOT / 'configs'))
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
