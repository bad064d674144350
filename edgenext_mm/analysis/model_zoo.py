"""The page of the model zoo."""

from pathlib import Path

from ..checkpoint.zoo import EXPERIMENTS, RELEASES, SCHEME
from .complexity import complexity_of

_HEAD = """# Model zoo

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
_DENSE = """
## Detection and segmentation

What the paper reports, where it does, and what the config has and reaches here; a dash stands for
what nobody has trained yet. [Reproduction](reproduction.md) says why some of the sizes differ.

| config | size | metric | paper | here | parameters, paper | here | MAdds, paper | here |
|---|---|---|---|---|---|---|---|---|
"""
_CVNETS = f"""
## The authors' DeepLabv3

EdgeNeXt's authors trained DeepLabv3 (80.2 mIoU in the paper) in Apple's
[CVNets](https://github.com/apple/ml-cvnets), and attached the checkpoint to
[issue 5](https://github.com/mmaaz60/EdgeNeXt/issues/5) of the reference repository. If it cannot be
downloaded, put `EdgeNeXt_DeepLabV3.zip` into the folder that `EDGENEXT_CHECKPOINT_DIR` names. This
gives it our names, and measures on VOC's validation images which order of colors it was trained
with: CVNets reads BGR in version 0.1, and RGB from 0.2 on.

```bash
python tools/convert_checkpoint.py {SCHEME}deeplabv3_small_voc deeplabv3.pth --from cvnets
config=configs/segmentation/deeplabv3_edgenext_small_voc_cvnets.py
for is_rgb in True False; do
    python tools/test.py $config deeplabv3.pth \\
        --cfg-options model.data_preprocessor.bgr_to_rgb=$is_rgb
done
```

The file could not be had here: this was tested on files that were built by CVNets' source and what
is known of the checkpoint alone. The encoder's tensors are found by their order and shapes; if they
are others, the error lists both. SSDLite converts [likewise](weights.md#detectors-of-cvnets).
"""


def render_model_zoo(configs: Path) -> str:
    """Return docs/model_zoo.md: the published checkpoints, and the experiments of the paper.

    Args:
        configs: the folder of the configs, which are built to count parameters and multiply-adds.
    """
    rows = []
    for name, release in RELEASES.items():
        config = f'classification/edgenext_{release.recipe}_imagenet.py'
        parameters, multiply_adds = _complexity(configs / config, 256)
        cells = [f'`{SCHEME}{name}`', f'`{release.arch}`', f'{release.top1:.2f}', parameters]
        cells += [multiply_adds, _link(config), f'[{release.file}]({release.url})']
        rows.append(cells)
    dense = []
    for experiment in EXPERIMENTS:
        parameters, multiply_adds = _complexity(configs / experiment.config, experiment.size)
        metric, *paper = experiment.paper or ('', '', '')
        cells = [_link(experiment.config), str(experiment.size), experiment.metric, str(metric)]
        cells += ['-' if experiment.ours is None else str(experiment.ours)]
        cells += [str(paper[0]), parameters, str(paper[1]), multiply_adds]
        dense.append(cells)
    tables = [''.join(f'| {" | ".join(cells)} |\n' for cells in table) for table in (rows, dense)]
    return _HEAD + tables[0] + _DENSE + tables[1] + _CVNETS


def _complexity(config: Path, size: int) -> list[str]:
    return [f'{count:.3f}' for count in complexity_of(config, (size, size))]


def _link(config: str) -> str:
    return f'[`{Path(config).name}`](../configs/{config})'
