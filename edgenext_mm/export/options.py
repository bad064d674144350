"""The formats, and which options each of them has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from ..errors import InputError


@dataclass(frozen=True)
class Format:
    """A kind of file that a runtime reads.

    Attributes:
        suffix: of the file's name.
        packages: modules that writing or checking it needs, by the extra of this package that
            installs them.
        dynamic: what may stay free: 'batch', 'size'.
        half: whether it can hold float16 weights.
        int8: whether it can be quantized here.
        nms: whether the runtime has non-maximum suppression.
        form: arguments of :func:`~.form.export_form`.
        why_not: of the options that it lacks, the reason.
    """

    suffix: str
    extra: str = ''
    packages: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    half: bool = False
    int8: bool = False
    nms: bool = False
    form: dict[str, bool] = field(default_factory=dict)
    why_not: str = ''


FORMATS = {
    'onnx': Format(
        '.onnx',
        'onnx',
        ('onnx', 'onnxruntime', 'onnxslim'),
        ('batch', 'size'),
        half=True,
        int8=True,
        nms=True,
    ),
    'openvino': Format(
        '.xml',
        'openvino',
        ('onnx', 'onnxslim', 'openvino'),
        ('batch', 'size'),
        half=True,
        int8=True,
        nms=True,
        form=dict(norm_in_means=True),
    ),
}


@dataclass(frozen=True)
class Options:
    """What an exported file is to be.

    Attributes:
        format: a key of :data:`FORMATS`.
        size: height and width of the input in pixels; None for that of the config.
        dynamic: what stays free: 'batch', 'size'.
        half: store float16 weights.
        int8: quantize weights and activations to eight bits.
        nms: for a detector, non-maximum suppression in the file.
        raw: for a detector, what the head predicts; for a segmentor, the logits.
        backbone: the backbone alone.
        opset: of ONNX.

    Raises:
        InputError: if the options do not go together.

    Example:
        >>> Options('ncnn', dynamic=('size',))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: --dynamic is not for ncnn: ...
    """

    format: str
    size: tuple[int, int] | None = None
    dynamic: tuple[str, ...] = ()
    half: bool = False
    int8: bool = False
    nms: bool = False
    raw: bool = False
    backbone: bool = False
    opset: int = 17

    def __post_init__(self) -> None:
        own = FORMATS[self.format]
        wanted = {
            '--dynamic': set(self.dynamic) - set(own.dynamic),
            '--half': self.half and not own.half,
            '--int8': self.int8 and not own.int8,
            '--nms': self.nms and not own.nms,
        }
        for option, lacks in wanted.items():
            if lacks:
                raise InputError(f'{option} is not for {self.format}: {own.why_not}')
        if self.half and self.int8:
            raise InputError('--half and --int8 exclude each other: choose one precision')
        if self.nms and self.raw:
            raise InputError('--nms and --raw exclude each other: raw outputs have no boxes yet')
        if self.nms and self.dynamic:
            raise InputError(
                '--nms is for one image of one size, since the number of its boxes varies: leave '
                'out --dynamic, or --nms (the predictor has its own)'
            )
        if self.size and (min(self.size) < 32):
            raise InputError(
                f'--size {self.size[0]} {self.size[1]}: EdgeNeXt sees 32 pixels or more'
            )
        if self.opset not in (13, 17):
            raise InputError(f'--opset is 17, or 13 for TensorRT 8.2, not {self.opset}')


def check_packages(names: Sequence[str], extra: str) -> None:
    """Check that packages are there, without importing them.

    Raises:
        InputError: if one is missing, with the line that installs it.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} is not installed: pip install 'edgenext_mm[{extra}]'"
        )
