"""Docstrings of the repository as griffe and Markdown understand them."""

import re
from typing import Any

from griffe import Extension, Object


class Docstrings(Extension):
    """Makes code of Sphinx' roles, and examples of sections named Example."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            text = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', obj.docstring.value)
            obj.docstring.value = re.sub(r'^Example:$', 'Examples:', text, flags=re.M)
