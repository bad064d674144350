"""LiteRT files (TensorFlow Lite), for Android and small boards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import litert_torch
import torch

from ..graphs import Graph
from ..options import METADATA_FILE, Options


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write a file, followed by a zip archive; for the arguments see :func:`.onnx.write`."""
    litert_torch.convert(graph, tuple(inputs)).export(str(path))
    with ZipFile(path, 'a') as archive:
        archive.writestr(METADATA_FILE, json.dumps(metadata))
