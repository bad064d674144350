"""Eight bits: static post-training quantization, with the ranges that images of training show.

Convolutions and linear layers are quantized: weights by output channel, what they read and write by
tensor. All else stays in float32: products of attention, norms, softmax, GELU, position encoding,
the resizing of logits and the decoding of boxes. So does what the last layers return, since their
steps would be the answers'. Where a runtime cannot do that, these layers are in float32 as a whole.
"""

import logging
import re
import tempfile
from collections.abc import Collection, Container, Hashable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

Inputs = Mapping[str, np.ndarray]


Quantized = tuple[Any, list[str]]
"""A quantized model, and the names of its layers that have stayed in float32."""


def quantize_onnx(
    model: Any, images: Collection[Inputs], float_layers: Sequence[str] | None = None
) -> Quantized:
    """Quantize a model for ONNX Runtime, in QDQ form.

    Args:
        model: an onnx.ModelProto of float32, with the names of nodes that PyTorch gives.
        images: inputs of the model by their names.
        float_layers: see :class:`~.options.Options`.

    Returns:
        The onnx.ModelProto, and its layers in float32. Activations are unsigned: x86-64 has no
        products of signed ones, and ONNX Runtime leaves most of their convolutions in float32
        there.

    Raises:
        InputError: if one of ``float_layers`` is no layer of the model.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    constants = {tensor.name for tensor in model.graph.initializer}
    nodes = model.graph.node
    layers = {
        index: module_name(node.name)
        for index, node in enumerate(nodes)
        if node.op_type in ('Conv', 'Gemm', 'MatMul') and node.input[1] in constants
    }
    followers = _followers([node.input for node in nodes], [node.output for node in nodes])
    exact = {index for index in layers if nodes[index].op_type != 'Conv'}  # see below
    chosen, kept = _choose(layers, followers, float_layers, exact)
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
        return onnx.load(path), kept


def quantize_openvino(
    model: Any, images: Collection[Inputs], float_layers: Sequence[str] | None = None
) -> Quantized:
    """Quantize a model for OpenVINO, by NNCF, which also corrects the biases.

    Args:
        model: an openvino.Model of float32, read from an ONNX file.
        images: inputs of the model by their names.
        float_layers: see :class:`~.options.Options`.

    Returns:
        The openvino.Model, and its layers in float32.

    Raises:
        InputError: if one of ``float_layers`` is no layer of the model.
    """
    import nncf

    nodes = model.get_ordered_ops()
    places = {node.get_friendly_name(): index for index, node in enumerate(nodes)}
    layers = {
        index: module_name(name)
        for (name, index), node in zip(places.items(), nodes, strict=True)
        if node.get_type_name() in ('Convolution', 'GroupConvolution', 'MatMul')
        and _is_constant(node.input_value(1).get_node())
    }
    followers = [
        [
            places[target.get_node().get_friendly_name()]
            for output in node.outputs()
            for target in output.get_target_inputs()
        ]
        for node in nodes
    ]
    # All return float32, unless a layer follows that reads eight bits.
    chosen, kept = _choose(layers, followers, float_layers, exact=layers)
    # NNCF would quantize sums, means and divisions as well.
    others = [
        name
        for (name, index), node in zip(places.items(), nodes, strict=True)
        if index not in chosen and node.get_type_name() not in ('Constant', 'Relu')
    ]
    nncf.set_log_level(logging.ERROR)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(images),
        subset_size=len(images),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE  # as above
        ),
        ignored_scope=nncf.IgnoredScope(names=others, validate=False),
    )
    return quantized, kept


def quantize_litert(
    path: Path,
    modules: Mapping[bytes, str],
    images: Collection[Inputs],
    float_layers: Sequence[str] | None = None,
) -> list[str]:
    """Quantize a file of LiteRT, in its place.

    Args:
        path: the file, of float32.
        modules: names of layers by the bytes of their weights, the output channels in front. The
            file has other names.
        images: inputs of the model by their names.
        float_layers: see :class:`~.options.Options`.

    Returns:
        The layers in float32.

    Raises:
        InputError: if one of ``float_layers`` is no layer of the model.
    """
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as reader

    kinds = qtyping.TFLOperationName
    axes = {  # of a weight, in PyTorch's order
        kinds.CONV_2D: (0, 3, 1, 2),
        kinds.DEPTHWISE_CONV_2D: (3, 0, 1, 2),
        kinds.FULLY_CONNECTED: (0, 1),
    }
    tool = quantizer.Quantizer(str(path))
    model = reader.read_model(str(path))
    (graph,) = model.subgraphs
    layers: dict[int, str] = {}
    kinds_of: dict[str, Any] = {}

    def scope_of(node: Any) -> str:
        return reader.get_op_scope(node, graph.tensors)

    for index, node in enumerate(graph.operators):
        kind = reader.TFL_OP_CODE_TO_NAME.get(model.operatorCodes[node.opcodeIndex].builtinCode)
        if kind not in axes:
            continue
        weight = graph.tensors[node.inputs[1]]
        data = model.buffers[weight.buffer].data
        if data is not None:
            values = np.asarray(data, np.uint8).view(np.float32).reshape(weight.shape)
            key, scope = values.transpose(axes[kind]).tobytes(), scope_of(node)
            layers[index], kinds_of[scope] = modules.get(key, scope), kind
    followers = _followers(*zip(*((x.inputs, x.outputs) for x in graph.operators), strict=True))
    chosen, kept = _choose(layers, followers, float_layers)
    for index in chosen:
        scope = scope_of(graph.operators[index])
        tool.add_static_config(f'^{re.escape(scope)}$', kinds_of[scope], 8, 8)
    (signature,) = model.signatureDefs
    (place,) = signature.inputs
    feeds = [{place.name.decode(): next(iter(image.values()))} for image in images]
    ranges = tool.calibrate({signature.signatureKey.decode(): feeds})
    result = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    result.export_model(str(path), overwrite=True)
    return kept


def _is_constant(node: Any) -> bool:
    """Tell whether a node of OpenVINO is a constant, perhaps one in another shape or type."""
    if node.get_type_name() in ('Reshape', 'Convert'):
        return _is_constant(node.input_value(0).get_node())
    return node.get_type_name() == 'Constant'


def _followers(
    inputs: Sequence[Iterable[Hashable]], outputs: Sequence[Iterable[Hashable]]
) -> list[list[int]]:
    """Return of each node which nodes read its outputs."""
    readers: dict[Hashable, list[int]] = {}
    for index, values in enumerate(inputs):
        for value in values:
            readers.setdefault(value, []).append(index)
    return [[i for value in values for i in readers.get(value, ())] for values in outputs]


def _choose(
    layers: Mapping[int, str],
    followers: Sequence[Sequence[int]],
    float_layers: Sequence[str] | None,
    exact: Container[int] = (),
) -> tuple[set[int], list[str]]:
    """Choose the layers to quantize of a graph.

    Args:
        layers: which nodes have weights, and of which module.
        followers: of each node, in an order in which they can be computed, the nodes that read its
            outputs.
        float_layers: see :class:`~.options.Options`.
        exact: which nodes can return float32 if they are quantized.

    Returns:
        Which nodes are quantized, and the names of the layers that are not.
    """
    if float_layers is None:
        ahead = [False] * len(followers)  # whether a layer follows
        for index in reversed(range(len(followers))):
            ahead[index] = any(i in layers or ahead[i] for i in followers[index])
        kept = {
            i
            for i, name in layers.items()
            if not (ahead[i] or i in exact) or _is_in(name, '*pos_embd')
        }
    else:
        for pattern in float_layers:
            if not any(_is_in(name, pattern) for name in layers.values()):
                raise InputError(
                    f'--float-layers: the file has no layer {pattern}. Its layers: '
                    f'{", ".join(sorted(set(layers.values())))}'
                )
        kept = {
            i
            for i, name in layers.items()
            if any(_is_in(name, pattern) for pattern in float_layers)
        }
    return set(layers) - kept, sorted({layers[i] for i in kept})


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
    name = '.'.join(
        part for part, next_ in zip(parts, inner, strict=True) if not next_.startswith(f'{part}.')
    )
    return name.removeprefix('model.')


def _reader(images: Iterable[Inputs]) -> Any:
    """Return images as ONNX Runtime's calibration wants them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> Any:
            return next(self.images, None)

    return Reader()
