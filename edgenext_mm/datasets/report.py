"""What the annotations of a dataset have that is not used as it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: What becomes of something: it is read in its one obvious meaning, or it is not used.
Action = Literal['used', 'left out']

#: Kinds whose classes the summary names: of objects whose class the dataset does not have, and of
#: the dataset's classes that have nothing.
OTHER_CLASSES, EMPTY_CLASSES = 'objects of other classes', 'classes that nothing belongs to'

SHOWN = 3  # names in a line


def names_of(names: Iterable[str]) -> str:
    """Return the first of some names, quoted.

    Example:
        >>> names_of(['dog', 'cat', 'kite', 'boat', 'dog'])
        "'boat', 'cat', 'dog', ..."
    """
    names = sorted(set(names))
    return ', '.join(map(repr, names[:SHOWN])) + ', ...' * (len(names) > SHOWN)


@dataclass(frozen=True, slots=True)
class Item:
    """One object, image or file that is not used as it stands.

    Attributes:
        kind: what is the matter, in the plural, such as 'boxes without an area'.
        action: 'left out', or 'used' for what is read in its one obvious meaning.
        file: the image or file it belongs to.
        id: of the annotation, or the place of the object in its file, from 1; None for a file.
        message: what is used instead, or what is wrong, such as the numbers of the box. May be ''.
        count: how many there are, where a file is full of them and they are not told apart.
        label: name of the class of an object, or ''.
    """

    kind: str
    action: Action
    file: str
    id: int | str | None = None
    message: str = ''
    count: int = 1
    label: str = ''

    def __str__(self) -> str:
        where = self.file if self.id is None else f'{self.file}, annotation {self.id}'
        number = f' ({self.count})' if self.count > 1 else ''
        rest = ' '.join(filter(None, (self.label and repr(self.label), self.message)))
        return f'{self.action}: {where}: {self.kind}{number}' + (f': {rest}' if rest else '')


class Report:
    """What a dataset has left out, and what it has used in its one obvious meaning, by kind.

    Attributes:
        name: the annotation file or folder of the dataset.
        items: in the order in which they were found.

    Example:
        >>> report = Report('train.json')
        >>> report.left_out('boxes without an area', '7.jpg', 31, '[5, 5, 0, 9]', 'cat')
        >>> report.left_out('images without an object', '8.jpg')
        >>> report.used('areas that are missing', 'train.json', message='width x height', count=40)
        >>> report.summary()
        'train.json: left out: boxes without an area (1), images without an object (1); used: areas
        that are missing (40: width x height)'
        >>> print('\\n'.join(report.lines()))
        left out: 7.jpg, annotation 31: boxes without an area: 'cat' [5, 5, 0, 9]
        left out: 8.jpg: images without an object
        used: train.json: areas that are missing (40): width x height
        >>> report.counts('left out')
        {'boxes without an area': 1, 'images without an object': 1}
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: list[Item] = []

    def left_out(
        self,
        kind: str,
        file: str,
        id: int | str | None = None,
        message: str = '',
        label: str = '',
    ) -> None:
        """Note what is not used; see :class:`Item`."""
        self.items.append(Item(kind, 'left out', file, id, message, label=label))

    def used(
        self,
        kind: str,
        file: str,
        id: int | str | None = None,
        message: str = '',
        count: int = 1,
    ) -> None:
        """Note what is used in its one obvious meaning; see :class:`Item`."""
        self.items.append(Item(kind, 'used', file, id, message, count))

    def __bool__(self) -> bool:
        return bool(self.items)

    def counts(self, action: Action) -> dict[str, int]:
        """Return how many there are of each kind."""
        counts: dict[str, int] = {}
        for item in self.items:
            if item.action == action:
                counts[item.kind] = counts.get(item.kind, 0) + item.count
        return counts

    def summary(self) -> str:
        """Return one line with the number of each kind, or '' if all is used as it stands."""
        kinds: dict[Action, dict[str, list[Item]]] = {'left out': {}, 'used': {}}
        for item in self.items:
            kinds[item.action].setdefault(item.kind, []).append(item)
        parts = [
            f'{action}: ' + ', '.join(_number(kind, items) for kind, items in of_action.items())
            for action, of_action in kinds.items()
            if of_action
        ]
        return f'{self.name}: {"; ".join(parts)}' if parts else ''

    def lines(self) -> list[str]:
        """Return one line for each item, those that are left out first."""
        return [str(item) for item in sorted(self.items, key=lambda item: item.action)]


def _number(kind: str, items: list[Item]) -> str:
    """Return a kind with how many there are, and with what they have in common."""
    said = {item.message for item in items} if items[0].action == 'used' else set()
    common = said.pop() if len(said) == 1 else ''
    if kind in (OTHER_CLASSES, EMPTY_CLASSES):
        common = names_of(item.label for item in items)
    return f'{kind} ({sum(item.count for item in items)}{": " * bool(common)}{common})'
