"""Core ML packages, for macOS and iOS, where alone they run."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import torch

from ..graphs import INPUT, Graph
from ..options import KEY, Options
from .torchscript import trace


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write a package; for the arguments see :func:`.onnx.write`."""
    # Of versions that it was not tested with, and of each pass.
    logging.getLogger('coremltools').setLevel(logging.ERROR)
    precision = coremltools.precision.FLOAT16 if options.half else coremltools.precision.FLOAT32
    model = coremltools.convert(
        trace(graph, inputs),
        inputs=[coremltools.TensorType(INPUT, inputs[0].shape, np.float32)],
        outputs=[coremltools.TensorType(name) for name in graph.names],
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=precision,
    )
    model.user_defined_metadata[KEY] = json.dumps(metadata)
    model.save(str(path))
