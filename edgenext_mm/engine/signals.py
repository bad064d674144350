"""Signals that ask a run to stop."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import Any

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
    its step. When that process has come to its end, and Python terminates what workers are left,
    they obey.

    Args:
        init: what else to do in a worker, with its number.
    """

    def __init__(self, init: Callable[[int], None] | None) -> None:
        self.init = init
        self.is_over = _is_over

    def __call__(self, number: int) -> None:
        if self.init is not None:
            self.init(number)
        for name in SIGNALS:
            signal.signal(name, self._ignore_once)

    def _ignore_once(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if self.is_over.value:
            os.kill(os.getpid(), number)


# Memory that this process shares with its workers.
_is_over: Any = RawValue('b', 0)


def _end() -> None:
    _is_over.value = 1


# Comes before the handler of multiprocessing, which is registered when that is imported.
atexit.register(_end)
