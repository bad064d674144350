"""How the project speaks of bad input."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Input that the user can put right; the message names the culprit and the remedy.

    Example:
        >>> raise InputError('data.json does not exist: set ann_file of the dataset')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: data.json does not exist: set ann_file of the dataset
    """


#: What often has the name of another file, by its first bytes, and the remedy.
_MISTAKEN = {
    b'version https://git-lfs': "it is a pointer of Git LFS, in whose place 'git lfs pull' puts it",
    b'<!doctype html': 'it is a web page',
    b'<html': 'it is a web page',
    b'\x1f\x8b': 'it is packed by gzip: unpack it',
}


def mistaken(start: bytes) -> str:
    """Return what a file is instead of what its name says, or ''.

    Args:
        start: its first bytes; 100 are enough.

    Example:
        >>> mistaken(b''), mistaken(b'<!DOCTYPE html><html>'), mistaken(b'{"images": []}')
        ('it is empty', 'it is a web page', '')
    """
    if not start.strip():
        return 'it is empty'
    start = start.lstrip().lower()
    return next((text for begin, text in _MISTAKEN.items() if start.startswith(begin)), '')


class Interrupted(SystemExit):
    """A run that has been asked to stop has saved a checkpoint and stops.

    Its exit status is 75, of which sysexits.h says: a temporary failure, try again. That is, with
    ``--resume``.

    Example:
        >>> raise Interrupted
        Traceback (most recent call last):
        edgenext_mm.errors.Interrupted: 75
    """

    STATUS = 75

    def __init__(self) -> None:
        super().__init__(self.STATUS)


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """Turn an InputError into one message on the standard error stream and exit status 1.

    Ctrl-C, where nothing else handles it, becomes a message too, with status 130, as in shells. So
    does an error that code in between has made of it, as a bare ``except`` of mmengine does.

    Example:
        >>> with exit_on_input_error():
        ...     raise InputError('data.json does not exist: set ann_file of the dataset')
        Traceback (most recent call last):
        SystemExit: error: data.json does not exist: set ann_file of the dataset
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause is not None:
            print('stopped by Ctrl-C', file=sys.stderr)
            sys.exit(130)
        if not isinstance(error, InputError):
            raise
        # From a worker of a DataLoader the error comes with the worker's traceback as its text.
        name = f'{InputError.__module__}.{InputError.__name__}: '
        sys.exit(f'error: {str(error).rpartition(name)[2].strip()}')
