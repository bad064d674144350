"""Work on many items, in parallel processes, that says how far it is."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from threading import Thread
from typing import Any, TextIO

import cv2
from tqdm import tqdm

from .errors import InputError


def track(items: Iterable, total: int | None, what: str, unit: str | None = None) -> Iterator[Any]:
    """Pass items on, and say on the standard error stream how many have been worked on.

    A terminal gets a bar. A file or a pipe, where the states of a bar would pile up, gets a line
    for every ten per cent, and at the end.

    Args:
        items: what to pass on.
        total: how many there are; None if nobody knows.
        what: what they are, such as 'train images'.
        unit: say also how many of this unit a second has, such as 'frames'. Defaults to no.

    Example:
        >>> [2 * number for number in track([1, 2, 3], 3, 'numbers')]
        [2, 4, 6]
    """
    if sys.stderr.isatty():
        yield from tqdm(items, what, total, unit=f' {unit}' if unit else 'it')
        return
    state = (
        '{percentage:3.0f}%, {n_fmt} of {total_fmt} [{elapsed}<{remaining}'
        if total
        else '{n_fmt} [{elapsed}'
    )
    with tqdm(
        desc=what,
        total=total,
        file=_Lines(sys.stderr),
        leave=False,
        unit=f' {unit}',
        bar_format=f'{{desc}}: {state}{", {rate_fmt}" if unit else ""}]',
    ) as bar:
        for done, item in enumerate(items, 1):
            yield item
            bar.n = done
            if (10 * done // total > 10 * (done - 1) // total) if total else done % 100 == 0:
                bar.refresh()


class _Lines:
    """The states of a bar as lines of a file."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> None:
        if state := text.strip():
            self.file.write(f'{state}\n')

    def flush(self) -> None:
        self.file.flush()


def parallel_map(
    function: Callable[[Any], Any],
    items: Sequence,
    processes: int | None,
    what: str,
    initializer: Callable[..., None] | None = None,
    initargs: tuple = (),
) -> Iterator[Any]:
    """Apply a function to items in parallel processes, with :func:`track`.

    Args:
        function: of one item.
        items: its arguments.
        processes: how many. Defaults to one per CPU. One works in this process.
        what: what the items are, such as 'train images'.
        initializer: what each process calls first, with the arguments ``initargs``.
        initargs: of the initializer.

    Yields:
        What the function returns, in the order of the items.

    Raises:
        InputError: if a process is killed, as the system does for want of memory.

    Example:
        >>> list(parallel_map(abs, [-1, 2, -3], 1, 'numbers'))
        [1, 2, 3]
    """
    processes = min(processes or os.cpu_count() or 1, len(items))
    if processes <= 1:
        if initializer:
            initializer(*initargs)
        yield from track(map(function, items), len(items), what)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # before the fork: a child that inherits OpenCV's threads deadlocks
    try:
        with ProcessPoolExecutor(
            processes, initializer=_prepare, initargs=(initializer, initargs)
        ) as pool:
            results = pool.map(function, items, chunksize=min(8, -(-len(items) // processes)))
            yield from track(results, len(items), what)
    except BrokenProcessPool as error:
        raise InputError(
            f'a process that worked on the {what} was killed: the memory may be too small for '
            f'{processes} at a time, so try --processes 1'
        ) from error
    finally:
        cv2.setNumThreads(threads)


def _prepare(initializer: Callable[..., None] | None, arguments: tuple) -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_the_parent, daemon=True).start()
    if initializer:
        initializer(*arguments)


def _end_with_the_parent() -> None:
    """End this process if the one that started it is killed: it would wait for work for ever."""
    parent_process().join()  # type: ignore[union-attr]
    os._exit(1)
