"""What a run needs to be repeated, beside its config."""

import json
import os
import os.path as osp
import platform
import subprocess
import sys
from typing import Any

import torch
from mmengine.dist import get_world_size, is_main_process

from ..fileio import AtomicLocalBackend

_LIBRARIES = (
    *('edgenext_mm', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'),
    *('torch', 'torchvision', 'numpy', 'cv2', 'PIL'),
)
#: Variables of the environment that change what a run computes or reads.
_VARIABLES = (
    *('COCO_ROOT', 'VOC_ROOT', 'IMAGENET_ROOT', 'EDGENEXT_CHECKPOINT_DIR'),
    *('CUDA_VISIBLE_DEVICES', 'CUBLAS_WORKSPACE_CONFIG', 'PYTHONHASHSEED'),
)
_PREFIXES = ('OMP_', 'MKL_', 'KMP_', 'GOMP_', 'SLURM_JOB_ID', 'SLURM_RESTART_COUNT')


def write_record(runner: Any) -> None:
    """Write ``run.json`` into the folder of a run's logs.

    It has the command line, the seed, the versions of the libraries, the machine, and the state of
    the repositories that the code and the current folder are in. What is not committed in these is
    in ``uncommitted_NUMBER.patch`` beside it.

    Args:
        runner: the runner, of which the main process writes.
    """
    if not is_main_process():
        return
    repositories: list[dict[str, Any]] = []
    for folder in dict.fromkeys([osp.dirname(osp.abspath(__file__)), os.getcwd()]):
        root = _git(folder, 'rev-parse', '--show-toplevel')
        if root and root.strip() not in [entry['folder'] for entry in repositories]:
            repositories.append(_repository(root.strip(), runner.log_dir, len(repositories)))
    record = dict(
        command=[sys.executable, *sys.orig_argv[1:]],
        folder=os.getcwd(),
        seed=runner.seed,
        deterministic=runner.deterministic,
        resumes=bool(runner._resume),
        processes=get_world_size(),
        threads=torch.get_num_threads(),
        machine=dict(
            name=platform.node(),
            system=platform.platform(),
            processor=platform.machine(),
            devices=[
                torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
            ],
        ),
        versions=dict(python=platform.python_version(), cuda=torch.version.cuda)
        | {name: version for name in _LIBRARIES if (version := _version(name))},
        environment={
            key: value
            for key, value in sorted(os.environ.items())
            if key in _VARIABLES or key.startswith(_PREFIXES)
        },
        repositories=repositories,
    )
    path = osp.join(runner.log_dir, 'run.json')
    AtomicLocalBackend().put_text(json.dumps(record, indent=2) + '\n', path)


def _version(name: str) -> str | None:
    """Return the version of a library that this run has imported."""
    return getattr(sys.modules.get(name), '__version__', None)


def _repository(root: str, log_dir: str, number: int) -> dict[str, Any]:
    changes = _git(root, 'diff', '--binary', 'HEAD') or ''
    untracked = (_git(root, 'ls-files', '--others', '--exclude-standard') or '').splitlines()
    more = [f'and {len(untracked) - 100} more'] if len(untracked) > 100 else []
    entry: dict[str, Any] = dict(
        folder=root,
        commit=(_git(root, 'rev-parse', 'HEAD') or '').strip() or None,
        untracked=untracked[:100] + more,
        changes=None,
    )
    if changes:
        entry['changes'] = f'uncommitted_{number}.patch'
        AtomicLocalBackend().put_text(changes, osp.join(log_dir, entry['changes']))
    return entry


def _git(folder: str, *arguments: str) -> str | None:
    """Return what git says, or None if there is no git or no repository."""
    command = ('git', '-C', folder, *arguments)
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors='replace', timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout
