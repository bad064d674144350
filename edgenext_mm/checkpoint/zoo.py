"""The published ImageNet checkpoints (https://github.com/mmaaz60/EdgeNeXt/releases)."""

from dataclasses import dataclass

SCHEME = 'edgenext://'
_RELEASES = 'https://github.com/mmaaz60/EdgeNeXt/releases/download'


@dataclass(frozen=True)
class Release:
    """A checkpoint of the reference repository.

    Attributes:
        arch (str): the network, a name of ``edgenext_mm.models.ARCHS``.
        file (str): release and name of the file.
        top1 (float): accuracy on ImageNet in percent, as published.
    """

    arch: str
    file: str
    top1: float

    @property
    def url(self):
        return f'{_RELEASES}/{self.file}'


#: By short name: ``edgenext://small_usi`` stands for the URL of ``RELEASES['small_usi']``.
RELEASES = {
    'xx_small': Release('xx_small', 'v1.0/edgenext_xx_small.pth', 71.23),
    'x_small': Release('x_small', 'v1.0/edgenext_x_small.pth', 74.96),
    'small': Release('small', 'v1.0/edgenext_small.pth', 79.41),
    'small_usi': Release('small', 'v1.1/edgenext_small_usi.pth', 81.07),
    'base': Release('base', 'v1.2/edgenext_base.pth', 82.47),
    'base_usi': Release('base', 'v1.2/edgenext_base_usi.pth', 83.68),
    'base_in21k': Release('base', 'v1.21/edgenext_base_IN21K.pth', 83.31),
    'xx_small_bn_hs': Release('xx_small_bn_hs', 'v1.0/edgenext_xx_small_bn_hs.pth', 70.33),
    'x_small_bn_hs': Release('x_small_bn_hs', 'v1.0/edgenext_x_small_bn_hs.pth', 74.87),
    'small_bn_hs': Release('small_bn_hs', 'v1.0/edgenext_small_bn_hs.pth', 78.39),
}
