"""Signals that ask a run to stop."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import Any

from .samples import send_reasons

#: What a job that is preempted gets, and what Ctrl-C sends.
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds in which signals are one.
SAME = 2


class StopRequest:
    """Notes the first SIGTERM or SIGINT of this process; a later one acts as ever.

    Those of the same moment are one: a scheduler signals all processes of a job, and torchrun, one
    of them, passes the signal on. Nothing is noted outside of the main thread, where Python has no
    handlers.

    Example:
        >>> import os
        >>> request = StopRequest()
        >>> request.listen()
        >>> os.kill(os.getpid(), signal.SIGTERM)
        >>> request.name
        'SIGTERM'
        >>> request.close()
    """

    name: str | None = None
    """Of the signal, or None as long as there was none."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Handle the signals from now on."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def close(self) -> None:
        """Handle them as before."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # To log here could deadlock.
        if self.name is None:
            self.name, self.noted_at = signal.Signals(number).name, time.monotonic()
        elif time.monotonic() - self.noted_at > SAME:
            self.close()
            os.kill(os.getpid(), number)


class Workers:
    """Lets a worker that loads data outlive the first signal of a kind, which the whole job gets.

    For ``worker_init_fn`` of a DataLoader. The process that trains still needs the worker to finish
    its step, and a reason where a batch cannot be sent. When the run is over, see
    :func:`workers_outlive`, and PyTorch or Python terminates what workers are left, they obey: also
    one that hangs.

    Args:
        init: what else to do in a worker, with its number.
    """

    def __init__(self, init: Callable[[int], None] | None) -> None:
        self.init = init
        self.is_running = _is_running

    def __call__(self, number: int) -> None:
        if self.init is not None:
            self.init(number)
        send_reasons()
        for name in SIGNALS:
            signal.signal(name, self._ignore_once)

    def _ignore_once(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if not self.is_running.value:
            os.kill(os.getpid(), number)


# Memory that this process shares with its workers.
_is_running: Any = RawValue('b', 0)


@contextmanager
def workers_outlive() -> Iterator[None]:
    """Let :class:`Workers` outlive signals as long as the context lasts, which is that of a run."""
    _is_running.value = 1
    try:
        yield
    finally:
        _is_running.value = 0
