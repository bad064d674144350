"""Files of torch.export, for PyTorch and for the compilers that start from its graphs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError
from ..graphs import Graph
from ..options import METADATA_FILE, Options


def write(
    graph: Graph, inputs: Sequence[torch.Tensor], path: Path, metadata: Any, options: Options
) -> None:
    """Write a file; for the arguments see :func:`.onnx.write`.

    Raises:
        InputError: if PyTorch is too old, or for detectors of images of any size.
    """
    if torch.__version__ < '2.6':
        raise InputError('--format exported_program needs PyTorch 2.6 or newer')
    if graph.task == 'detection' and 'size' in options.dynamic:
        raise InputError(
            '--dynamic size is not for detectors in exported_program: torch.export takes a map of '
            'one pixel, as theirs can be, for a constant. Choose torchscript or onnx, or --size'
        )
    image, *others = inputs
    free = {}
    if 'batch' in options.dynamic:
        image = torch.cat((image, image))  # one image would be a constant
        free[0] = torch.export.Dim.DYNAMIC
    if 'size' in options.dynamic:
        free |= {axis: torch.export.Dim.DYNAMIC for axis in (2, 3)}
    program = torch.export.export(
        graph, (image, *others), dynamic_shapes=(free, *[{} for _ in others])
    )
    torch.export.save(program, str(path), extra_files={METADATA_FILE: json.dumps(metadata)})
