"""OpenVINO's files: layers in NAME.xml and weights in NAME.bin."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openvino
import torch

from ..graphs import Graph
from ..options import KEY, Options
from . import onnx


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write the two files; for the arguments see :func:`.onnx.write`."""
    with TemporaryDirectory() as folder:
        # Its own reader of PyTorch's graphs knows no free sizes, and forgets fixed ones.
        source = Path(folder) / 'model.onnx'
        onnx.write(graph, inputs, source, metadata, replace(options, half=False))
        model = openvino.Core().read_model(source)
        model.set_rt_info(json.dumps(metadata), KEY)
        openvino.save_model(model, path, compress_to_fp16=options.half)
