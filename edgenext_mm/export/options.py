"""The formats, and which options each of them has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec

from ..errors import InputError

KEY = 'edgenext_mm'
METADATA_FILE = f'{KEY}.json'
"""Where files have their description."""


@dataclass(frozen=True)
class Format:
    """A kind of file that a runtime reads.

    Attributes:
        suffix: of the file's name.
        extra: of this package, which installs what writing or checking it needs.
        packages: the modules that it needs.
        dynamic: what may stay free: 'batch', 'size'.
        half: whether it can hold float16 weights.
        int8: whether it can be quantized here.
        int8_packages: modules that this needs besides.
        nms: whether the runtime has non-maximum suppression.
        argmax: whether it has argmax; else a segmentor's file gives logits.
        runs_here: whether its files can be checked where they are written.
        form: arguments of :func:`~.form.export_form`.
        int8_form: those of them that are others for eight bits.
        why_not: the reason for each of '--dynamic', '--half', '--int8' and '--nms' that it lacks.
    """

    suffix: str
    extra: str = ''
    packages: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    half: bool = False
    int8: bool = False
    int8_packages: tuple[str, ...] = ()
    nms: bool = False
    argmax: bool = True
    runs_here: bool = True
    form: dict[str, bool] = field(default_factory=dict)
    int8_form: dict[str, bool] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)


_NO_INT8 = 'choose --format onnx, openvino or litert, which are quantized by their own tools'
_NO_NMS = 'its runtime has none: leave out --nms, the predictor does it'
_FLOAT32 = {
    '--half': 'PyTorch would compute in float16 too, whose range is too small for norms: use '
    'autocast where the file is loaded',
    '--int8': _NO_INT8,
}

CALIBRATION_IMAGES = 200

FORMATS = {
    'onnx': Format(
        '.onnx',
        'onnx',
        ('onnx', 'onnxruntime', 'onnxslim'),
        ('batch', 'size'),
        half=True,
        int8=True,
        int8_form=dict(tanh_gelu=True, linear_heads=True),
        nms=True,
    ),
    'openvino': Format(
        '.xml',
        'openvino',
        ('onnx', 'onnxslim', 'openvino'),
        ('batch', 'size'),
        half=True,
        int8=True,
        int8_packages=('nncf',),
        nms=True,
        form=dict(norm_in_means=True),
    ),
    'torchscript': Format('.torchscript', dynamic=('batch', 'size'), nms=True, why_not=_FLOAT32),
    'exported_program': Format(
        '.pt2',
        dynamic=('batch', 'size'),
        why_not={
            **_FLOAT32,
            '--nms': 'torch.export takes for granted that an image has two boxes or more',
        },
    ),
    'executorch': Format(
        '.pte',
        'executorch',
        ('executorch',),
        form=dict(linear=True),
        why_not={
            '--dynamic': 'its memory is planned for inputs of one size',
            '--half': 'the kernels of XNNPACK in it are those for float32',
            '--int8': _NO_INT8,
            '--nms': _NO_NMS,
        },
    ),
    'ncnn': Format(
        '_ncnn',
        'ncnn',
        ('pnnx', 'ncnn'),
        half=True,
        argmax=False,
        why_not={
            '--dynamic': 'it runs one image at a time, and its layers know the size of the input',
            '--int8': _NO_INT8,
            '--nms': _NO_NMS,
        },
    ),
    'coreml': Format(
        '.mlpackage',
        'coreml',
        ('coremltools',),
        half=True,
        runs_here=False,
        why_not={
            '--dynamic': 'coremltools cannot convert the resizing of maps to a size that is free',
            '--int8': _NO_INT8,
            '--nms': _NO_NMS,
        },
    ),
    'litert': Format(
        '.tflite',
        'litert',
        ('litert_torch', 'ai_edge_litert'),
        int8=True,
        int8_packages=('ai_edge_quantizer',),
        why_not={
            '--dynamic': 'its converter writes the size of the input into the layers',
            '--half': 'it computes in float32 on processors: the file would be smaller, not faster',
            '--nms': _NO_NMS,
        },
    ),
}

TARGETS = {'tensorrt-8.2': 13, 'tensorrt-8.6': 17, 'tensorrt-10': 17}
"""Versions of TensorRT and the opset of ONNX for each."""

# What installs a format's packages, where it is no extra of this package.
_INSTALL = {
    'litert': 'make .venv-litert, and run this tool by .venv-litert/bin/python (the transformers '
    "that pip would install with LiteRT's converter break mmpretrain)"
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
        target: a key of :data:`TARGETS`, to whose operations an ONNX file is restricted.
        calibration_images: how many images show the ranges of values that eight bits are to hold.
            Defaults to :data:`CALIBRATION_IMAGES`.
        float_layers: names of modules, or patterns of them, that eight bits leave as they are.
            Defaults to the last layers, whose values are the answers, and the position encoding.
        max_drop: how many points of the metric of 100 eight bits may lose; layers stay as they are
            until it holds. Defaults to any.

    Raises:
        InputError: if the options do not go together.

    Example:
        >>> Options('ncnn', dynamic=('size',))
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: --dynamic is not for ncnn: it runs one image at a time, ...
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
    target: str | None = None
    calibration_images: int | None = None
    float_layers: tuple[str, ...] | None = None
    max_drop: float | None = None

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
                raise InputError(f'{option} is not for {self.format}: {own.why_not[option]}')
        if self.half and self.int8:
            raise InputError('--half and --int8 exclude each other: choose one precision')
        of_int8 = {
            '--calibration-images': self.calibration_images,
            '--float-layers': self.float_layers,
            '--max-drop': self.max_drop,
        }
        for option, value in of_int8.items():
            if value is not None and not self.int8:
                raise InputError(f'{option} is for --int8 alone')
        if self.calibration_images is not None and self.calibration_images < 1:
            raise InputError(f'--calibration-images is 1 or more, not {self.calibration_images}')
        if self.max_drop is not None and self.max_drop < 0:
            raise InputError(f'--max-drop is 0 points or more, not {self.max_drop:g}')
        if self.max_drop is not None and (self.raw or self.backbone):
            raise InputError(
                '--max-drop is for files that the test set can judge: leave out --raw and '
                '--backbone'
            )
        if self.nms and self.raw:
            raise InputError('--nms and --raw exclude each other: raw outputs have no boxes yet')
        if self.nms and self.dynamic:
            raise InputError(
                '--nms is for one image of one size, since the number of its boxes varies: leave '
                'out --dynamic, or --nms (the predictor has its own)'
            )
        if self.size and min(self.size) < 32:
            raise InputError(
                f'--size {self.size[0]} {self.size[1]}: EdgeNeXt sees 32 pixels or more'
            )
        if self.opset not in (13, 17):
            raise InputError(f'--opset is 17, or 13 for TensorRT 8.2, not {self.opset}')
        if self.format != 'onnx' and (self.opset != 17 or self.target):
            raise InputError(f'--opset and --target are for --format onnx, not {self.format}')
        if self.target and self.opset != TARGETS[self.target]:
            raise InputError(f'--target {self.target} takes opset {TARGETS[self.target]}')
        if self.target and self.dynamic:
            raise InputError(
                '--target and --dynamic exclude each other: TensorRT makes its engine for one size'
            )
        if self.int8 and (self.opset != 17 or self.target):
            raise InputError(
                '--int8 excludes --opset and --target: TensorRT quantizes by itself, from a file '
                'of floating-point numbers'
            )


def check_packages(names: Sequence[str], extra: str) -> None:
    """Check that packages are there, without importing them.

    Args:
        names: the modules.
        extra: of this package, which installs them.

    Raises:
        InputError: if one is missing, with the line that installs it, or one is in the way.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        remedy = _INSTALL.get(extra, f"pip install 'edgenext_mm[{extra}]'")
        raise InputError(f'{", ".join(missing)} is not installed: {remedy}')
    if extra == 'litert' and find_spec('transformers') and int(version('transformers')[0]) > 4:
        raise InputError(
            'transformers 5 is installed, with which mmpretrain cannot be imported: pip uninstall '
            "transformers (LiteRT's converter needs it for language models alone)"
        )
