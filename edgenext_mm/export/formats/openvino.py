"""OpenVINO's files: layers in NAME.xml and weights in NAME.bin."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ...runtime.sessions import openvino_core
from ..graphs import Graph
from ..options import KEY, Options
from ..quantize import Inputs, quantize_openvino
from . import onnx


def write(
    graph: Graph,
    inputs: Sequence[torch.Tensor],
    path: Path,
    metadata: Any,
    options: Options,
    images: Collection[Inputs] = (),
) -> None:
    """Write the two files; for the arguments see :func:`.onnx.write`."""
    import openvino  # after the runtime, without its telemetry

    with TemporaryDirectory() as folder:
        # Its own reader of PyTorch's graphs knows no free sizes, and forgets fixed ones.
        source = Path(folder) / 'model.onnx'
        in_full = replace(
            options,
            half=False,
            int8=False,
            calibration_images=None,
            float_layers=None,
            max_drop=None,
        )
        onnx.write(graph, inputs, source, metadata, in_full)
        model = openvino_core().read_model(source)
        if options.int8:
            model, kept = quantize_openvino(model, images, options.float_layers)
            metadata['float_layers'] = kept
        model.set_rt_info(json.dumps(metadata), KEY)
        openvino.save_model(model, path, compress_to_fp16=options.half)
