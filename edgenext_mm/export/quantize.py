"""Eight bits: static post-training quantization, with the ranges that images of training show.

Convolutions and linear layers are quantized: weights by output channel, what they read and write by
tensor. All else stays in float32: products of attention, norms, softmax, GELU, position encoding,
the resizing of logits and the decoding of boxes. So do, unless told otherwise, the layers whose
values are the answers: they are a small part of the work, and their steps would be the answers'.
"""

import logging
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

Inputs = Mapping[str, np.ndarray]


def quantize_onnx(
    model: Any, images: Collection[Inputs], float_layers: Sequence[str] | None = None
) -> Any:
    """Quantize a model for ONNX Runtime, in QDQ form.

    Args:
        model: an onnx.ModelProto of float32, with the names of nodes that PyTorch gives.
        images: inputs of the model by their names.
        float_layers: see :class:`~.options.Options`.

    Returns:
        The onnx.ModelProto. Activations are unsigned: x86-64 has no products of signed ones, and
        ONNX Runtime leaves most of their convolutions in float32 there.

    Raises:
        InputError: if one of ``float_layers`` is no layer of the model.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    constants = {tensor.name for tensor in model.graph.initializer}
    nodes = model.graph.node
    layers = [
        node.op_type in ('Conv', 'Gemm', 'MatMul') and node.input[1] in constants for node in nodes
    ]
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    followers = [[i for name in node.output for i in readers.get(name, ())] for node in nodes]
    chosen = _choose([node.name for node in nodes], layers, followers, float_layers)
    names = [nodes[index].name for index in chosen]
    # A ReLU costs nothing in a convolution whose values end at zero.
    names += [
        nodes[reader].name
        for index in chosen
        for reader in followers[index]
        if nodes[reader].op_type == 'Relu'
    ]
    # onnxslim has done what ONNX Runtime would have users do before; it warns without this mark.
    add_pre_process_metadata(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        quantization.quantize_static(
            model,
            path,
            _reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Weights of seven bits: x86-64 without VNNI adds two products in 16 bits.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=names,
            op_types_to_quantize=['Conv', 'Gemm', 'MatMul', 'Relu'],
            # Products of matrices give float32 at once, which is more exact and takes no longer.
            extra_options={'OpTypesToExcludeOutputQuantization': ['Gemm', 'MatMul']},
        )
        return onnx.load(path)


def quantize_openvino(
    model: Any, images: Collection[Inputs], float_layers: Sequence[str] | None = None
) -> Any:
    """Quantize a model for OpenVINO, by NNCF, which also corrects the biases.

    Args:
        model: an openvino.Model of float32, read from an ONNX file.
        images: inputs of the model by their names.
        float_layers: see :class:`~.options.Options`.

    Returns:
        The openvino.Model.

    Raises:
        InputError: if one of ``float_layers`` is no layer of the model.
    """
    import nncf

    nodes = model.get_ordered_ops()
    places = {node.get_friendly_name(): index for index, node in enumerate(nodes)}
    names = [*places]
    layers = [
        node.get_type_name() in ('Convolution', 'GroupConvolution', 'MatMul')
        and _is_constant(node.input_value(1).get_node())
        for node in nodes
    ]
    followers = [
        [
            places[target.get_node().get_friendly_name()]
            for output in node.outputs()
            for target in output.get_target_inputs()
        ]
        for node in nodes
    ]
    chosen = _choose(names, layers, followers, float_layers)
    # NNCF would quantize sums, means and divisions as well.
    kept = [
        name
        for index, (name, node) in enumerate(zip(names, nodes, strict=True))
        if index not in chosen and node.get_type_name() not in ('Constant', 'Relu')
    ]
    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset(images),
        subset_size=len(images),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE  # as above
        ),
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
    )


def _is_constant(node: Any) -> bool:
    """Tell whether a node of OpenVINO is a constant, perhaps one in another shape or type."""
    if node.get_type_name() in ('Reshape', 'Convert'):
        return _is_constant(node.input_value(0).get_node())
    return node.get_type_name() == 'Constant'


def _choose(
    names: Sequence[str],
    layers: Sequence[bool],
    followers: Sequence[Sequence[int]],
    float_layers: Sequence[str] | None,
) -> set[int]:
    """Choose the layers to quantize of a graph.

    Args:
        names: of the nodes, in an order in which they can be computed.
        layers: which nodes have weights.
        followers: of each node, the nodes that read its outputs.
        float_layers: see :class:`~.options.Options`.

    Returns:
        Which nodes are quantized.
    """
    modules = {index: module_name(names[index]) for index in np.flatnonzero(layers)}
    if float_layers is None:
        ahead = [False] * len(names)  # whether a layer follows
        for index in reversed(range(len(names))):
            ahead[index] = any(layers[i] or ahead[i] for i in followers[index])
        return {i for i, module in modules.items() if ahead[i] and not _is_in(module, '*pos_embd')}
    for pattern in float_layers:
        if not any(_is_in(module, pattern) for module in modules.values()):
            raise InputError(
                f'--float-layers: the file has no layer {pattern}. Its layers: '
                f'{", ".join(sorted(set(modules.values())))}'
            )
    return {
        index
        for index, module in modules.items()
        if not any(_is_in(module, pattern) for pattern in float_layers)
    }


def _is_in(module: str, pattern: str) -> bool:
    return fnmatchcase(module, pattern) or fnmatchcase(module, f'{pattern}.*')


def module_name(node: str) -> str:
    """Return the name of the module from which a node comes.

    Example:
        >>> module_name('/backbone/stages.0/stages.0.1/pwconv1/Conv')
        'backbone.stages.0.1.pwconv1'
    """
    parts = [part for part in node.split('/') if part and not part[0].isupper()]
    inner = [*parts[1:], '']
    return '.'.join(
        part for part, next_ in zip(parts, inner, strict=True) if not next_.startswith(f'{part}.')
    )


def _reader(images: Iterable[Inputs]) -> Any:
    """Return images as ONNX Runtime's calibration wants them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> Any:
            return next(self.images, None)

    return Reader()
