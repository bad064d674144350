"""TorchScript files, for PyTorch without the code of the network: libtorch in C++, or Python."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..graphs import Graph
from ..options import METADATA_FILE, Options


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write a file; for the arguments see :func:`.onnx.write`."""
    torch.jit.save(trace(graph, inputs), str(path), {METADATA_FILE: json.dumps(metadata)})


def trace(graph: Graph, inputs: Sequence[torch.Tensor]) -> torch.jit.ScriptModule:
    """Return a graph as TorchScript, with its weights as constants."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer, on constants that are meant
        # What the tracer would check by itself is checked on images after the file is written.
        return torch.jit.freeze(torch.jit.trace(graph, tuple(inputs), check_trace=False))
