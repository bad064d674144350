"""LiteRT files (TensorFlow Lite), for Android and small boards."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import litert_torch
import torch
import torch.nn as nn

from ..graphs import Graph
from ..options import METADATA_FILE, Options
from ..quantize import Inputs, quantize_litert


def write(
    graph: Graph,
    inputs: Sequence[torch.Tensor],
    path: Path,
    metadata: Any,
    options: Options,
    images: Collection[Inputs] = (),
) -> None:
    """Write a file, followed by a zip archive; for the arguments see :func:`.onnx.write`."""
    litert_torch.convert(graph, tuple(inputs)).export(str(path))
    if options.int8:
        modules = {
            module.weight.numpy().tobytes(): name.removeprefix('model.')
            for name, module in graph.named_modules()
            if isinstance(module, (nn.Conv2d, nn.Linear))
        }
        metadata['float_layers'] = quantize_litert(path, modules, images, options.float_layers)
    with ZipFile(path, 'a') as archive:
        archive.writestr(METADATA_FILE, json.dumps(metadata))
