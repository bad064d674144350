"""What an error analysis found, as tables and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]
SHOWN = 10  # rows of a table that is printed; JSON has all


@dataclass
class ErrorReport:
    """What an error analysis found.

    Attributes:
        names: of the rows and columns of the confusion matrix.
        confusion: a number of objects, pixels or images, (len(names), len(names)); rows are what is
            annotated, and columns what is predicted.
        tables: rows by the title of their table. A row has a value by the name of its column, None
            where there is none.

    Example:
        >>> import numpy as np
        >>> from edgenext_mm.analysis.error_report import ErrorReport
        >>> report = ErrorReport(['cat', 'dog'], np.array([[3, 1], [0, 2]]), {})
        >>> print(report.text())
        Confused, most often first:
        <BLANKLINE>
        | annotated | predicted | times |
        |---|---|---|
        | cat | dog | 1 |
    """

    names: Sequence[str]
    confusion: np.ndarray
    tables: dict[str, list[Row]]

    def text(self) -> str:
        """Return the tables in Markdown, the long ones shortened."""
        tables = self.tables | {'Confused, most often first': self._confused()}
        return '\n\n'.join(_markdown(title, rows) for title, rows in tables.items() if rows)

    def as_json(self) -> str:
        """Return all that was found as JSON."""
        confusion = dict(names=list(self.names), matrix=self.confusion.tolist())
        return json.dumps(dict(self.tables, confusion=confusion), indent=1)

    def _confused(self) -> list[Row]:
        wrong = self.confusion * (1 - np.eye(len(self.names), dtype=int))
        rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind='stable'), wrong.shape)
        return [
            dict(annotated=self.names[i], predicted=self.names[j], times=int(wrong[i, j]))
            for i, j in zip(rows, columns, strict=True)
            if wrong[i, j]
        ]


def _markdown(title: str, rows: list[Row]) -> str:
    ranked = title.endswith('first')
    shown = rows[:SHOWN] if ranked else rows
    lines = [' | '.join(rows[0]), '|'.join('---' for _ in rows[0])]
    lines += [' | '.join(map(_cell, row.values())) for row in shown]
    text = '\n'.join([f'{title}:', '', f'| {lines[0]} |', f'|{lines[1]}|'])
    text += ''.join(f'\n| {line} |' for line in lines[2:])
    return text + f'\nand {len(rows) - SHOWN} more' * (len(shown) < len(rows))


def _cell(value: Any) -> str:
    if value is None:
        return ''
    return f'{value:.3f}' if isinstance(value, float) else str(value)


def number(value: Any) -> float | None:
    """Return a float for a table; None for nan, which JSON does not have."""
    return None if np.isnan(value) else round(float(value), 6)
