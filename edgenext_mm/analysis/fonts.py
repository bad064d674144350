"""Fonts for names in any script."""

import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby

import matplotlib
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

#: Matplotlib's own font, of Latin, Greek, Cyrillic, Arabic and more.
_OWN = 'fonts/ttf/DejaVuSans.ttf'
_OF_CJK = ('CJK', 'HIRAGANA', 'KATAKANA', 'HANGUL', 'BOPOMOFO', 'IDEOGRAPHIC', 'FULLWIDTH')
_missing: set[str] = set()


@cache
def _files() -> list[str]:
    found = [path for path in findSystemFonts() if 'LastResort' not in path]  # boxes for all
    system = sorted(found, key=lambda path: ('Regular' not in path, path))
    return [f'{matplotlib.get_data_path()}/{_OWN}', *system]


@cache
def _characters(file: str) -> frozenset[int]:
    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):  # a font that FreeType does not read
        return frozenset()


@cache
def _file_of(character: str) -> str:
    """Return the first font with a character; Matplotlib's, with a warning, if none has it."""
    for file in _files():
        if ord(character) in _characters(file):
            return file
    name = unicodedata.name(character, 'UNKNOWN')
    script = name.partition(' ')[0]
    if script not in _missing:
        _missing.add(script)
        package = 'fonts-noto-cjk' if name.startswith(_OF_CJK) else 'fonts-noto-core'
        warnings.warn(
            f'no font of this machine has {character!r} ({name}), which is drawn as a box: install '
            f"one, such as Debian's package {package}",
            stacklevel=2,
        )
    return _files()[0]


def runs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a text that one font has, each with the file of the font.

    Example:
        >>> from pathlib import Path
        >>> [(part, Path(file).name) for part, file in runs('Корабль 0.93')]
        [('Корабль 0.93', 'DejaVuSans.ttf')]
    """
    file, files = _files()[0], []
    for character in text:
        if ord(character) not in _characters(file):
            file = _file_of(character)
        files.append(file)
    for file, part in groupby(zip(text, files, strict=True), key=lambda pair: pair[1]):
        yield ''.join(character for character, _ in part), file


def draw_text(
    brush: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    background: tuple[int, ...],
) -> None:
    """Write a line on a background, in black or white, whichever is seen.

    Args:
        brush: of the picture.
        place: of the upper left corner, x and y in pixels.
        text: in any scripts.
        size: in pixels.
        background: its color, RGB.
    """
    x, y = place
    parts = [(part, ImageFont.truetype(file, size)) for part, file in runs(text)]
    width = sum(font.getlength(part) for part, font in parts)
    brush.rectangle([x, y, x + width, y + 1.25 * size], fill=background)
    for part, font in parts:
        color = (0, 0, 0) if sum(background) > 380 else (255, 255, 255)
        brush.text((x, y + size), part, color, font, anchor='ls')
        x += font.getlength(part)


def families(texts: Iterable[str]) -> list[str]:
    """Return the families in which Matplotlib finds the characters of texts, its own first.

    Example:
        >>> families(['boat', 'лодка'])
        ['DejaVu Sans']
    """
    files = dict.fromkeys([_files()[0], *(file for text in texts for _, file in runs(text))])
    for file in files:
        fontManager.addfont(file)
    return [*dict.fromkeys(FontProperties(fname=file).get_name() for file in files)]
