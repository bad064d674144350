"""ExecuTorch files, for Android, iOS and microcontrollers, with XNNPACK for the processor."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

from ..graphs import Graph
from ..options import Options


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write a file, and its description beside it; for the arguments see :func:`.onnx.write`."""
    program = torch.export.export(graph, tuple(inputs))
    with _own_tools():
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)
    path.with_name(f'{path.name}.json').write_text(json.dumps(metadata))


@contextmanager
def _own_tools() -> Iterator[None]:
    """Let ExecuTorch find its flatc, which is beside python and which it seeks in PATH alone."""
    before = os.environ.get('PATH', '')
    os.environ['PATH'] = os.pathsep.join([os.path.dirname(sys.executable), before])
    try:
        yield
    finally:
        os.environ['PATH'] = before
