"""Write docs/model_zoo.md: the published checkpoints, and the experiments of the paper."""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from edgenext_mm.analysis.complexity import count_complexity
from edgenext_mm.checkpoint.zoo import EXPERIMENTS, RELEASES, SCHEME

ROOT = Path(__file__).parents[1]
HEAD = """# Model zoo

This page is what `python tools/make_model_zoo.py` writes. Parameters (M) and multiply-adds (G) are
those that `python tools/get_complexity.py CONFIG --shape SIZE SIZE` prints.

## Classification, ImageNet, 256x256

The checkpoints are those of the [reference repository](https://github.com/mmaaz60/EdgeNeXt), and
the accuracy (top-1, %) is as published there. A short name stands for the checkpoint wherever one
is wanted: `init_cfg=dict(type='Pretrained', checkpoint='edgenext://small')`, or
`python tools/test.py configs/classification/edgenext_small_imagenet.py edgenext://small`.

| short name | arch | accuracy | parameters | MAdds | config | file |
|---|---|---|---|---|---|---|
"""
DENSE = """
## Detection and segmentation

What the paper reports, where it does, and what the config has and reaches here; a dash stands for
what nobody has trained yet.

| config | size | metric | paper | here | parameters, paper | here | MAdds, paper | here |
|---|---|---|---|---|---|---|---|---|
"""


def complexity(config, size):
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    parameters, multiply_adds = count_complexity(model, (size, size))['model']
    return f'{parameters / 1e6:.3f}', f'{multiply_adds / 1e9:.3f}'


def link(path):
    return f'[`{Path(path).name}`](../configs/{path})'


def render():
    rows = []
    for name, release in RELEASES.items():
        config = f'classification/edgenext_{release.recipe}_imagenet.py'
        parameters, multiply_adds = complexity(ROOT / 'configs' / config, 256)
        cells = [f'`{SCHEME}{name}`', f'`{release.arch}`', f'{release.top1:.2f}', parameters]
        cells += [multiply_adds, link(config), f'[{release.file}]({release.url})']
        rows.append(cells)
    dense = []
    for experiment in EXPERIMENTS:
        parameters, multiply_adds = complexity(
            ROOT / 'configs' / experiment.config, experiment.size
        )
        metric, *paper = experiment.paper or ('', '', '')
        cells = [link(experiment.config), str(experiment.size), experiment.metric, str(metric)]
        cells += ['-' if experiment.ours is None else str(experiment.ours)]
        cells += [str(paper[0]), parameters, str(paper[1]), multiply_adds]
        dense.append(cells)
    tables = [''.join(f'| {" | ".join(cells)} |\n' for cells in table) for table in (rows, dense)]
    return HEAD + tables[0] + DENSE + tables[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'model_zoo.md')
    args = parser.parse_args()
    args.out.write_text(render())
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
