"""ONNX files, for ONNX Runtime, OpenVINO, OpenCV, TensorRT and the tools of NPUs' makers."""

import json
import logging
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import torch

from ..graphs import INPUT, MASK_SIZE, Graph
from ..options import KEY, Options
from ..quantize import Inputs, quantize_onnx
from ..tensorrt import check_operations

_IR_VERSION = 10
"""Newer ones are refused by runtimes of last year."""
_AXES = {
    INPUT: {0: 'batch', 2: 'height', 3: 'width'},
    'boxes': {0: 'batch', 1: 'anchors'},
    'scores': {0: 'batch', 1: 'anchors'},
    'mask': {0: 'batch', 1: 'mask_height', 2: 'mask_width'},
    'logits': {0: 'batch', 2: 'height', 3: 'width'},
}


def write(
    graph: Graph,
    inputs: Sequence[torch.Tensor],
    path: Path,
    metadata: Any,
    options: Options,
    images: Collection[Inputs] = (),
) -> None:
    """Write a file, one alone, which has passed onnx.checker.

    Args:
        graph: the graph, in evaluation mode.
        inputs: tensors of the sizes to export.
        path: the file.
        metadata: is written into the file.
        options: of the export.
        images: inputs with which eight bits are calibrated.

    Raises:
        InputError: if ``options.float_layers`` names a layer that is not there, or a target has not
            all operations of the graph.
    """
    _trace(graph, inputs, path, options)
    model = onnxslim.slim(onnx.load(path))
    if options.half:
        model = onnxslim.slim(_halve(model))
    if options.int8:
        model, metadata['float_layers'] = quantize_onnx(model, images, options.float_layers)
    model.ir_version = min(model.ir_version, _IR_VERSION)
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata)})
    onnx.checker.check_model(model, full_check=True)
    if options.target:
        check_operations({node.op_type for node in model.graph.node}, options.target)
    onnx.save(model, path)


def _trace(graph: Graph, inputs: Sequence[torch.Tensor], path: Path, options: Options) -> None:
    # The exporter that is based on torch.export writes broken files of this opset (attribute
    # num_outputs of Split), and takes ten times as long. PyTorch before 2.5 has no choice.
    legacy: dict[str, Any] = {'dynamo': False} if torch.__version__ >= '2.5' else {}
    # Opset 20 has GELU as one node. In several, with eight bits between them, ONNX Runtime does not
    # see it.
    opset = 20 if options.int8 and legacy else options.opset
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer, on constants that are meant
        torch.onnx.export(
            graph,
            tuple(inputs),
            str(path),
            input_names=[INPUT, MASK_SIZE][: len(inputs)],
            output_names=graph.names,
            dynamic_axes=_free_axes(graph, options),
            opset_version=opset,
            **legacy,
        )


def _free_axes(graph: Graph, options: Options) -> dict[str, dict[int, str]]:
    free: dict[str, dict[int, str]] = {}
    if graph.form == 'detections':
        return {name: {0: 'detections'} for name in graph.names}
    for name in (INPUT, *graph.names):
        axes = _AXES.get(name, {0: 'batch', 2: f'{name}_height', 3: f'{name}_width'})
        if name == 'scores' and graph.form == 'scores':
            axes = {0: 'batch'}
        if graph.form == 'raw_boxes' and name != INPUT:
            axes = {0: 'batch', 1: 'anchors'}
        free[name] = {
            axis: word
            for axis, word in axes.items()
            if ('batch' if axis == 0 else 'size') in options.dynamic
        }
    return free


def _halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights as float16 and compute in it, but for what its range is too small for."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    sensitive = ['LayerNormalization', 'ReduceSum', 'ReduceMean', 'Exp', 'Softmax', 'ArgMax']
    return convert_float_to_float16(
        model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *sensitive]
    )
