"""How the project speaks of bad input."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


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


#: Functions of mmengine that build what a config describes, and the name of what they build.
_BUILDERS = {
    'build_from_cfg': '',  # that of its class
    'build_dataloader': 'a dataloader',
    'build_optim_wrapper': 'optim_wrapper',
    'build_scheduler_from_cfg': 'param_scheduler',
    'build_runner_from_cfg': 'the run',
}
_LONG = 300  # letters of another library's message


def _unbuilt(error: BaseException | None) -> str | None:
    """Return what could not be built from a config, and why, or None for any other error."""
    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if isinstance(error, AttributeError) and _module(*frames[-1:]) == 'mmengine.config.config':
            return f'the config lacks a setting ({error}): set it, or choose another config'
        for frame in reversed(frames):
            name = _BUILDERS.get(frame.f_code.co_name)
            if name is None or not _module(frame).startswith('mmengine.'):
                continue
            settings: Any = frame.f_locals.get('cfg')
            kind = (hasattr(settings, 'get') and settings.get('type')) or settings
            is_key = isinstance(error, KeyError) and error.args  # whose text has quotes
            text = ' '.join(str(error.args[0] if is_key else error).split())
            return (
                f'{name or getattr(kind, "__name__", kind)} cannot be built from the config '
                f'({type(error).__name__}: {text[:_LONG]}{"..." * (len(text) > _LONG)}; '
                f'{_place(error)}): correct its settings there'
            )
        # mmengine's Runner raises another TypeError in the place of one of a hook.
        error = error.__context__
    return None


def _module(frame: FrameType | None = None) -> str:
    return frame.f_globals.get('__name__', '') if frame else ''


def _place(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f'line {place.lineno} of {place.filename}'


def _is_unread() -> bool:
    """Tell whether nobody reads the standard output any longer, and then leave it."""
    try:
        print(flush=True)  # a flush alone has nothing to write if what failed was long
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return True
    return False


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """Turn an InputError into one message on the standard error stream and exit status 1.

    So do errors of what mmengine builds from a config, as of a setting that a class does not have,
    and those of the system about a file. Where the reader of the output has left, as ``head`` does,
    the status is 141, as in shells.

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
        if sys.stdout is not None:  # closed by the shell
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and _is_unread():
            sys.exit(141)
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause is not None:
            print('stopped by Ctrl-C', file=sys.stderr)
            sys.exit(130)
        if not isinstance(error, InputError):
            is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            if isinstance(error, OSError) and (error.filename is not None or is_full):
                sys.exit(
                    f'error: {error.filename or "what comes out"} cannot be read or written '
                    f'({error.strerror}; {_place(error)}): look whether the path is right, who may '
                    'use it, and whether there is room'
                )
            if text := _unbuilt(error):
                sys.exit(f'error: {text}')
            raise
        # From a worker of a DataLoader the error comes with the worker's traceback as its text.
        name = f'{InputError.__module__}.{InputError.__name__}: '
        sys.exit(f'error: {str(error).rpartition(name)[2].strip()}')
