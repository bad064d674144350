"""Start a tool in several processes: ``python -m edgenext_mm.launch ARGUMENTS OF torchrun``.

torchrun starts all processes again when one of them dies, also one that was asked to stop and has
saved (exit status 75), and its own exit status is 1 whatever they say. Here a run that was asked to
stop is over, and so is one whose command line is wrong; and the exit status is that of the
processes.
"""

import os
import sys
from typing import Any, ClassVar

from torch.distributed import run
from torch.distributed.elastic.agent.server.api import RunResult
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import api

from .errors import Interrupted

#: Exit statuses with which a process would end again.
_FINAL = {2, Interrupted.STATUS}


class _Agent(LocalElasticAgent):
    """torchrun's agent, which starts and watches the processes of a machine."""

    #: Exit statuses of the processes that it started last.
    statuses: ClassVar[set[int | None]] = set()

    def _monitor_workers(self, worker_group: Any) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if _FINAL & {failure.exitcode for failure in result.failures.values()}:
            self._remaining_restarts = 0
        return result

    def _shutdown(self, *args: Any, **kwargs: Any) -> None:
        super()._shutdown(*args, **kwargs)
        if self._pcontext:
            handlers = self._pcontext.subprocess_handlers.values()  # type: ignore[attr-defined]
            _Agent.statuses = {handler.proc.poll() for handler in handlers}


def main(arguments: list[str] | None = None) -> int:
    """Start the processes, wait for them, and return the exit status.

    Args:
        arguments: of torchrun. Defaults to those of the command line.

    Returns:
        0 at the end of the run, 75 if it was asked to stop and has saved, and otherwise the status
        of the process that failed first, or 128 and the number of the signal that ended it.
    """
    # Processes that are started again would read the addresses of those before them in torchrun's
    # store (pytorch issue 135712).
    os.environ.setdefault('TORCH_DISABLE_SHARE_RDZV_TCP_STORE', '1')
    # Seconds for a step and a checkpoint after a signal, where torchrun leaves 30.
    os.environ.setdefault('TORCH_ELASTIC_SHUTDOWN_TIMEOUT', '300')
    api.LocalElasticAgent = _Agent  # type: ignore[misc]
    try:
        run.run(run.parse_args(arguments))
        return 0
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        status, what = failure.exitcode, f'process {rank} of the run'
    except SignalException as error:
        status, what = -error.sigval, 'the launcher'
    if Interrupted.STATUS in _Agent.statuses:
        return Interrupted.STATUS
    if status < 0:
        status = 128 - status
    print(f'error: {what} ended with exit status {status}: see its last messages', file=sys.stderr)
    return status


if __name__ == '__main__':
    sys.exit(main())
