"""Folders for ncnn, for telephones and small boards, with or without Vulkan."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pnnx import EXEC_PATH

from ...errors import InputError
from ..graphs import Graph
from ..options import METADATA_FILE, Options
from .torchscript import trace

_LAYERS, _WEIGHTS = 'model.ncnn.param', 'model.ncnn.bin'


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write a folder of layers, weights and description; for the arguments see :func:`.onnx.write`.

    Raises:
        InputError: if ncnn lacks an operation of the graph.
    """
    path.mkdir()
    (path / METADATA_FILE).write_text(json.dumps(metadata))
    with TemporaryDirectory() as folder:  # for all else that pnnx writes
        source = Path(folder) / 'model.pt'
        torch.jit.save(trace(graph, inputs), str(source))
        shapes = ','.join(f'[{",".join(map(str, x.shape))}]' for x in inputs)
        names = f'ncnnparam={path.absolute() / _LAYERS}', f'ncnnbin={path.absolute() / _WEIGHTS}'
        # Its way by Python imports what it wrote, and does not look at the exit status.
        done = subprocess.run(
            [EXEC_PATH, source.name, f'inputshape={shapes}', *names, f'fp16={int(options.half)}'],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    if done.returncode != 0 or not (path / _LAYERS).exists():
        raise InputError(f'pnnx cannot convert this network: {done.stderr.strip()[-300:]}')
    lines = (path / _LAYERS).read_text().splitlines()[2:]
    # Of PyTorch, that is to say, left as they are.
    unknown = {layer for layer, *_ in map(str.split, lines) if '.' in layer or '::' in layer}
    if unknown:
        raise InputError(f'ncnn lacks {", ".join(sorted(unknown))}, which this network has')
