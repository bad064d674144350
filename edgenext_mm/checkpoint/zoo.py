"""The published ImageNet checkpoints (https://github.com/mmaaz60/EdgeNeXt/releases), and the
experiments of the configs for dense prediction.
"""

from dataclasses import dataclass

SCHEME = 'edgenext://'
_RELEASES = 'https://github.com/mmaaz60/EdgeNeXt/releases/download'


@dataclass(frozen=True)
class Release:
    """A checkpoint of the reference repository.

    Attributes:
        arch: the network, a name of ``edgenext_mm.models.ARCHS``.
        file: release and name of the file.
        top1: accuracy on ImageNet in percent, as published.
        recipe: the config that evaluates it is
            configs/classification/edgenext_<recipe>_imagenet.py.

    Example:
        >>> RELEASES['small'].url
        'https://github.com/mmaaz60/EdgeNeXt/releases/download/v1.0/edgenext_small.pth'
    """

    arch: str
    file: str
    top1: float
    recipe: str

    @property
    def url(self) -> str:
        """The address of the file."""
        return f'{_RELEASES}/{self.file}'


RELEASES: dict[str, Release] = {
    'xx_small': Release('xx_small', 'v1.0/edgenext_xx_small.pth', 71.23, 'xx_small'),
    'x_small': Release('x_small', 'v1.0/edgenext_x_small.pth', 74.96, 'x_small'),
    'small': Release('small', 'v1.0/edgenext_small.pth', 79.41, 'small'),
    'small_usi': Release('small', 'v1.1/edgenext_small_usi.pth', 81.07, 'small_usi'),
    'base': Release('base', 'v1.2/edgenext_base.pth', 82.47, 'base'),
    'base_usi': Release('base', 'v1.2/edgenext_base_usi.pth', 83.68, 'base_usi'),
    'base_in21k': Release('base', 'v1.21/edgenext_base_IN21K.pth', 83.31, 'base_usi'),
    'xx_small_bn_hs': Release(
        'xx_small_bn_hs', 'v1.0/edgenext_xx_small_bn_hs.pth', 70.33, 'xx_small_bn_hs'
    ),
    'x_small_bn_hs': Release(
        'x_small_bn_hs', 'v1.0/edgenext_x_small_bn_hs.pth', 74.87, 'x_small_bn_hs'
    ),
    'small_bn_hs': Release('small_bn_hs', 'v1.0/edgenext_small_bn_hs.pth', 78.39, 'small_bn_hs'),
}
"""By short name: ``edgenext://small_usi`` stands for the URL of ``RELEASES['small_usi']``."""

#: DeepLabv3 of CVNets, which the authors attached to issue 5 of the reference repository.
DEEPLABV3 = 'https://github.com/mmaaz60/EdgeNeXt/files/9046051/EdgeNeXt_DeepLabV3.zip'
#: By short name, where each file is.
URLS = {name: release.url for name, release in RELEASES.items()} | {
    'deeplabv3_small_voc': DEEPLABV3
}


@dataclass(frozen=True)
class Experiment:
    """A config beside what the paper reports.

    Attributes:
        config: path below configs/.
        size: sides of the image in pixels.
        metric: what is measured.
        paper: the metric, parameters in M and MAdds in G of the paper; None if it has no such row.
        ours: the metric that the config reaches here; None if nobody trained it.
        note: why the config has other parameters or MAdds than the paper, or other figures.
    """

    config: str
    size: int
    metric: str
    paper: tuple[float, float, float] | None = None
    ours: float | None = None
    note: str = ''


_ARCHS = ('small', 'small_bn_hs', 'x_small', 'xx_small')
#: Of detection and segmentation (tables 3 and 4).
EXPERIMENTS = [
    *(
        Experiment(
            f'detection/ssdlite_edgenext_{arch}_coco.py',
            320,
            'COCO mAP',
            (27.9, 6.2, 2.1) if arch == 'small' else None,
        )
        for arch in _ARCHS
    ),
    Experiment(
        'peers/ssdlite_mobilevit_small_coco.py',
        320,
        'COCO mAP',
        (27.7, 5.7, 3.4),
    ),
    Experiment(
        'peers/ssdlite_mobilevit_v2_100_coco.py',
        320,
        'COCO mAP',
        note='CVNets has 5.6 M parameters and 26.5 mAP',
    ),
    Experiment(
        'peers/ssdlite_mobilenet_v2_coco.py',
        320,
        'COCO mAP',
        (22.1, 4.3, 0.8),
        note='the figures are of arXiv 1801.04381, whose SSDLite is on wider maps',
    ),
    Experiment(
        'peers/ssdlite_mobilenet_v3_large_coco.py',
        320,
        'COCO mAP',
        (22.0, 5.0, 0.6),
        note='the figures are of arXiv 1905.02244, with an SSDLite of other widths',
    ),
    *(
        Experiment(
            f'segmentation/deeplabv3_edgenext_{arch}_voc.py',
            512,
            'VOC mIoU',
            (80.2, 6.5, 8.7) if arch == 'small' else None,
        )
        for arch in _ARCHS
    ),
    Experiment(
        'peers/deeplabv3_mobilevit_small_voc.py',
        512,
        'VOC mIoU',
        (79.1, 6.4, 13.7),
        note="the head has EdgeNeXt's 128 channels; with `model.decode_head.channels=256` it is "
        '6.358 M and 13.835 G',
    ),
    Experiment(
        'peers/deeplabv3_mobilevit_v2_100_voc.py',
        512,
        'VOC mIoU',
        note='CVNets has 13.3 M parameters, with a wider head, and 78.9 mIoU',
    ),
    Experiment('peers/deeplabv3_mobilenet_v2_voc.py', 512, 'VOC mIoU'),
    Experiment('peers/deeplabv3_mobilenet_v3_large_voc.py', 512, 'VOC mIoU'),
]
