"""Names for what goes wrong on the way: with the disk, with processes, with memory."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_rank
from torch import Tensor

from ..errors import InputError

#: Seconds that a worker may take for a batch.
TIMEOUT = 600
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def naming_faults(work_dir: str, training: bool = False) -> Iterator[None]:
    """Turn faults of the machine into an InputError that says what to do.

    Args:
        work_dir: where the run writes.
        training: whether it can be resumed. Defaults to False.

    Raises:
        InputError: if a file is missing, if the disk is full, or if a worker, or another process
            of the run, is dead or hangs.

    Example:
        >>> with naming_faults('work_dirs/run'):
        ...     raise OSError(errno.ENOSPC, 'No space left on device')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: work_dirs/run cannot be written to ([Errno 28] No space left
        on device): make room there
    """
    remedy = ', and go on with --resume' if training else ''
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename is not None:
            raise InputError(
                f'the file {error.filename} is not there: look at the paths of the config, those '
                'of its evaluators as well'
            ) from error
        if error.errno not in _FULL:
            raise
        raise InputError(
            f'{work_dir} cannot be written to ({error}): make room there{remedy}'
        ) from error
    except RuntimeError as error:
        # The cause, if there is one, tells the signal.
        fault = _of_workers(f'{error.__cause__ or error.__context__}\n{error}')
        if fault := fault or _of_processes(error):
            raise InputError(f'{fault}{remedy}') from error
        raise


def _of_workers(text: str) -> str | None:
    """Return what PyTorch's error on workers means, or None if it is none."""
    if match := re.search(r'DataLoader timed out after (\d+) seconds', text):
        return (
            f'no batch came from the data in {match[1]} seconds: look whether their disk or '
            'network answers; where it only is slow, raise timeout of the dataloader'
        )
    if re.search('Too many open files|items of ancdata', text):
        return (
            'the processes that load data have too many open files: raise their number (ulimit '
            '-n), or lower num_workers or prefetch_factor of the dataloader'
        )
    if re.search(r'killed by signal: Bus error|unable to .*(shared memory|</torch_)', text):
        return (
            'a process that loads data found no shared memory: make /dev/shm larger (docker run '
            '--shm-size), or lower num_workers of the dataloader'
        )
    ends = r'is killed by signal: \w+|exited unexpectedly'
    if match := re.search(rf'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) ({ends})', text):
        return (
            f'a process that loads data (process {match[1]}) {match[2]}, as for want '
            'of memory: lower num_workers or prefetch_factor of the dataloader'
        )
    return None


def _of_processes(error: RuntimeError) -> str | None:
    """Return what an error of PyTorch's process groups means, or None if it is none."""
    text = str(error)
    # PyTorch 2.1 has no class for these errors.
    dist_error = getattr(torch.distributed, 'DistError', ())
    if not re.search('gloo|clients joined', text) and not isinstance(error, dist_error):
        return None
    run = f'process {os.environ.get("RANK", get_rank())} of the run cannot go on'
    if match := re.search(r'[Tt]imed out (?:waiting|after) (\d+) ?(ms|seconds)', text):
        seconds = int(match[1]) // (1000 if match[2] == 'ms' else 1)
        return (
            f'{run}: another one did not answer in {seconds} seconds. Look whether it hangs, or '
            'its machine; where it only is slow, raise env_cfg.dist_cfg.timeout'
        )
    if re.search(r'by peer|refused|Broken pipe|remote process exited|likely closed', text):
        return f'{run}: another one has ended. Look at its last messages'
    return None


@contextmanager
def naming_memory(batch: Any) -> Iterator[None]:
    """Turn a lack of memory into an InputError that tells the size of the batch.

    Args:
        batch: what the model is trained on, or a tuple that it is in.

    Raises:
        InputError: if there is too little memory for it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # of which PyTorch's on a GPU is one
        is_memory = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
        if not is_memory and not re.search("can't allocate memory|not enough memory", str(error)):
            raise
        sizes = [tuple(image.shape) for image in _tensors(batch)]
        what = (
            f'a batch of {len(sizes)} images of up to {max(sizes)} pixels' if sizes else 'a batch'
        )
        raise InputError(
            f'the memory is too small for {what} (channels, height, width): lower batch_size of '
            'train_dataloader, with --auto-scale-lr, or the size of the images, or train with '
            f'--amp. {str(error).splitlines()[0]}'
        ) from error


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Yield the images of a batch, as datasets and preprocessors have them."""
    if isinstance(batch, dict):
        batch = batch.get('inputs')
    if isinstance(batch, Tensor):
        if batch.dim() == 4:
            yield from batch
        elif batch.dim() == 3:
            yield batch
    elif isinstance(batch, list | tuple):
        for part in batch:
            yield from _tensors(part)
