"""TensorRT: which operations of ONNX its parser takes, and the command that makes an engine.

The lists are those of docs/operators.md in https://github.com/onnx/onnx-tensorrt, at the commits
85e79f629fb5 (8.2 GA), 6872a9473391 (8.6) and 96e781103cfc (10.1 GA): what is marked "Y" there.
"""

from collections.abc import Set
from pathlib import Path

from ..errors import InputError

_OF_8_2 = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
    Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
    Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    Greater GreaterOrEqual HardSigmoid Identity If ImageScaler InstanceNormalization IsNaN LRN
    LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max
    MaxPool Mean Min Mul Neg NonMaxSuppression Not Or PRelu Pad ParametricSoftplus Pow
    QuantizeLinear RNN RandomUniform RandomUniformLike Range ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize ReverseSequence Round ScaledTanh Scan Scatter ScatterElements ScatterND Selu
    Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where
"""
_NEW_IN_8_6 = """
    GridSample GroupNormalization HardSwish IsInf LayerNormalization MeanVarianceNormalization
    Mod NonZero OneHot RandomNormal RandomNormalLike Reciprocal RoiAlign Shrink Trilu Xor
"""
_NEW_IN_10 = 'CastLike DeformConv Gelu Hardmax Mish'

_8_2 = frozenset(_OF_8_2.split())
_8_6 = _8_2 | frozenset(_NEW_IN_8_6.split())
OPERATIONS = {
    'tensorrt-8.2': _8_2,
    'tensorrt-8.6': _8_6,
    'tensorrt-10': _8_6 | frozenset(_NEW_IN_10.split()),
}
"""For each of :data:`~.options.TARGETS`."""


def check_operations(operations: Set[str], target: str) -> None:
    """Check that a version of TensorRT has all operations of a file.

    Args:
        operations: their names in ONNX.
        target: a key of :data:`OPERATIONS`.

    Raises:
        InputError: if it lacks one.

    Example:
        >>> check_operations({'Conv', 'LayerNormalization'}, 'tensorrt-8.6')
        >>> check_operations({'Conv', 'LayerNormalization'}, 'tensorrt-8.2')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: tensorrt-8.2 lacks the operation LayerNormalization ...
    """
    missing = sorted(operations - OPERATIONS[target])
    if missing:
        remedy = ' (--nms needs it: leave that out)' if 'NonZero' in missing else ''
        raise InputError(
            f'{target} lacks the operation {", ".join(missing)} of this network{remedy}'
        )


def advice(path: Path, target: str) -> str:
    """Return how an engine is made of a file, on the device."""
    half = (
        'The norms are in parts, which overflow in float16: add --fp16 for _bn_hs networks alone.'
        if target == 'tensorrt-8.2'
        else 'For float16 add --fp16, and compare the metric.'
    )
    return (
        f'On the device, make the engine by (not run here, there is no TensorRT):\n'
        f'  trtexec --onnx={path} --saveEngine={path.with_suffix(".engine")}\n{half}'
    )
