"""Faults of the parts of a dataset, which are raised as one error when all parts were read."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import InputError

_found: ContextVar[list[str] | None] = ContextVar('faults', default=None)


class Faults:
    """InputErrors of parts of a dataset, such as its annotations.

    Example:
        >>> faults = Faults()
        >>> for number in (1, -2, 3, -4):
        ...     with faults.of_a_part():
        ...         if number < 0:
        ...             raise InputError(f'{number} is negative')
        >>> faults.refuse()
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: -2 is negative (and 1 more such faults, which
        tools/check_dataset.py lists)
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    @contextmanager
    def of_a_part(self) -> Iterator[None]:
        """Go on after an InputError."""
        try:
            yield
        except InputError as error:
            self.messages.append(str(error))

    def refuse(self) -> None:
        """Raise an InputError if there was any, but not in :func:`reading_on`."""
        messages, self.messages = self.messages, []
        refuse(*messages)


def refuse(*messages: str) -> None:
    """Raise what is wrong as one InputError, or go on with the rest in :func:`reading_on`."""
    found = _found.get()
    if found is not None:
        found += messages
    elif messages:
        more = len(messages) - 1
        hint = f' (and {more} more such faults, which tools/check_dataset.py lists)'
        raise InputError(messages[0] + hint * bool(more))


@contextmanager
def reading_on() -> Iterator[list[str]]:
    """Have datasets leave out the parts at fault, and yield the list of what is wrong with them.

    Example:
        >>> with reading_on() as found:
        ...     faults = Faults()
        ...     with faults.of_a_part():
        ...         raise InputError('1.xml is empty')
        ...     faults.refuse()
        >>> found
        ['1.xml is empty']
    """
    found: list[str] = []
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def has_faults() -> bool:
    """Tell whether anything was refused in :func:`reading_on`."""
    return bool(_found.get())
