"""What a DataLoader says where a sample cannot be loaded, or not be sent by a worker."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.queues import Queue
from typing import Any

from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..errors import InputError


def name_samples(loader: DataLoader) -> None:
    """Have a loader name the samples that cannot be loaded, with its workers and without.

    Args:
        loader: of a dataset with indices; others stay as they are.
    """
    dataset: Any = loader.dataset
    if not isinstance(dataset, IterableDataset):
        with suppress(AttributeError):  # a list, whose samples are there
            dataset.__getitems__ = Samples(dataset)


def send_reasons() -> None:
    """Have this process, a worker, send the reason why it cannot send a batch.

    multiprocessing prints it and forgets the batch, for which the run would wait.
    """
    Queue._on_queue_feeder_error = _send_reason  # type: ignore[attr-defined]


def _send_reason(queue: Queue, error: Exception, item: Any) -> None:
    if isinstance(item, bytes):  # The one that it is for has ended.
        return
    number, content = item
    if isinstance(content, ExceptionWrapper):
        content.exc_type = RuntimeError  # Its own type cannot be sent.
    else:
        reason: Exception = InputError(
            f'a batch cannot be sent by the worker that has loaded it ({error}): have the '
            'transforms return tensors, arrays and plain values'
        )
        if isinstance(error, OSError | RuntimeError):  # of shared memory
            reason = RuntimeError(str(error))
        content = ExceptionWrapper((type(reason), reason, None), where='in a DataLoader worker')
    queue.put((number, content))


class Samples:
    """Gets the samples of a batch, for ``__getitems__`` of a dataset, where a DataLoader asks.

    PyTorch hands on an error of a worker as text, without the name of the file that is missing. And
    what is no error, as that of ``sys.exit``, ends a worker in silence: a run waits for its batch
    until the time is over. Without workers, it would end a run as if all were well.

    Args:
        dataset: the dataset.

    Example:
        >>> Samples([7, 8, 9])([2, 0])
        [9, 7]
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        # Of its class: what wraps another dataset may hand on the attributes of that.
        self.get: Callable[[Any, Sequence[int]], list] | None = getattr(
            type(dataset), '__getitems__', None
        )

    def __call__(self, indices: Sequence[int]) -> list:
        """Return the samples.

        Args:
            indices: of the samples.

        Raises:
            InputError: if the system cannot read one, or if loading it ends the process.
        """
        if self.get is not None:
            with self._naming(indices):
                return self.get(self.dataset, indices)
        samples = []
        for index in indices:
            with self._naming([index]):
                samples.append(self.dataset[index])
        return samples

    @contextmanager
    def _naming(self, indices: Sequence[int]) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f'{self._which(indices)} ({error}): look whether the file is there, or the '
                'network that it comes from, and at the paths of the config'
            ) from error
        except BaseException as error:
            is_ctrl_c = isinstance(error, KeyboardInterrupt) and get_worker_info() is None
            if is_ctrl_c or isinstance(error, Exception):
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise InputError(
                f'{self._which(indices)}: line {place.lineno} of {place.filename} ends the process '
                f'({error!r}). Have it raise an error instead'
            ) from error

    def _which(self, indices: Sequence[int]) -> str:
        numbers = ' or '.join(map(str, indices))
        return f'sample {numbers} of {type(self.dataset).__name__} cannot be loaded'
