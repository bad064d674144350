"""Images of a folder, found by their names without suffix."""

import os
import os.path as osp
import unicodedata
from collections.abc import Sequence

from ..errors import InputError
from .report import Report

#: Suffixes of images that can be read, in whatever case.
IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.tif', '.tiff', '.webp', '.gif'),
    *('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.avif'),
)

#: Suffixes of images that keep each value as it is.
MASK_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', '.gif', '.pgm')


def composed(name: str) -> str:
    """Return a name with its letters composed: Macs may write ü as u and a diaeresis.

    Example:
        >>> composed('u\u0308') == 'ü'
        True
    """
    return unicodedata.normalize('NFC', name)


class ImageFiles:
    """The images of a folder, by their names without suffix.

    Args:
        folder: the folder, with those in it.
        suffix: what the name of an image ends with, or several of that. Defaults to the known ones.
        known: suffixes in any case, for the default.
        without: a folder to leave out, such as that of the masks.
        but: what the names of files end with that are none of these, such as masks in one folder
            with the images.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ('1.JPG', '2.png', 'notes.txt'):
        ...         _ = Path(folder, name).write_text('')
        ...     images = ImageFiles(folder)
        ...     images.names(report := Report(''))
        ...     osp.basename(images.find('1'))
        ['1', '2']
        '1.JPG'
        >>> report.counts('left out')
        {'files that are no images': 1}
    """

    def __init__(
        self,
        folder: str,
        suffix: str | Sequence[str] | None = None,
        known: Sequence[str] = IMAGE_SUFFIXES,
        without: str | None = None,
        but: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.suffixes = (suffix,) if isinstance(suffix, str) else suffix and tuple(suffix)
        self.known, self.without = tuple(known), without and osp.realpath(without)
        self.but = tuple(but)
        self._folders: dict[str, tuple[dict[str, list[str]], list[str]]] = {}
        self._names: dict[str, set[str]] = {}

    def find(self, name: str, hint: str = '') -> str | None:
        """Return the path of an image, or None if there is none.

        Args:
            name: without suffix, and with the folder in this one, if any. It may have a suffix.
            hint: the name of the file if that is known, to choose from several.

        Raises:
            InputError: if there are several.
        """
        folder, file = osp.split(self.plain(name))
        images = self._list(folder)[0]
        found = images.get(file) or [file] * (file in images.get(self._stem(file), ()))
        hint = osp.basename(hint.replace('\\', '/'))
        if len(found) > 1 and hint in found:
            found = [hint]
        if len(found) > 1:
            paths = ' and '.join(osp.join(self.folder, folder, file) for file in sorted(found)[:2])
            raise InputError(
                f'{paths} have the same name but for the suffix, so that it is not clear which is '
                f'{name}: remove or rename one, or set img_suffix of the dataset'
            )
        return osp.join(self.folder, folder, found[0]) if found else None

    def plain(self, name: str) -> str:
        """Return the name of an image without the suffix that it may have.

        The suffix may be another than the file's, but where there are several files it chooses one.
        """
        folder, file = osp.split(name)
        if '\\' in name and not self._list(folder)[0].get(composed(file)):
            folder, file = osp.split(name.replace('\\', '/'))
        file = composed(file)
        images = self._list(folder)[0]
        files = images.get(stem := self._stem(file), [])
        if file not in images and files and (len(files) == 1 or file not in files):
            file = stem
        return osp.join(folder, file)

    def spelled(self, name: str) -> str:
        """Return the name that an image has for one by which there is none.

        Args:
            name: with suffix, and with the folder in this one, if any.

        Returns:
            The name of the file that differs in the suffix, in blanks around it, in backslashes or
            in how Unicode writes it; the name as it is if it is a file's, or if there is none.

        Raises:
            InputError: if there are several.
        """
        folder, file = osp.split(osp.join(self.folder, name))
        if folder not in self._names:
            self._names[folder] = {*os.listdir(folder)} if osp.isdir(folder) else set()
        if file in self._names[folder] or not (found := self.find(name.strip())):
            return name
        return osp.relpath(found, self.folder) if self.folder else found

    def path_of(self, name: str) -> str:
        """Return the path that an image is expected to have."""
        return osp.join(self.folder, name + (self.suffixes or self.known)[0])

    def names(self, report: Report) -> list[str]:
        """List the names of all images, and report the files that are none."""
        names = []
        for folder, folders, _ in os.walk(self.folder, followlinks=True):
            folders[:] = [
                name
                for name in folders
                if not name.startswith('.') and osp.realpath(osp.join(folder, name)) != self.without
            ]
            inner = osp.relpath(folder, self.folder)
            inner = '' if inner == '.' else inner
            images, others = self._list(inner)
            names += [osp.join(inner, stem) for stem in images]
            for file in others:
                image = file.lower().endswith(IMAGE_SUFFIXES)
                kind = 'images of another suffix' if image else 'files that are no images'
                report.left_out(kind, osp.join(folder, file))
        return sorted(names)

    def _list(self, folder: str) -> tuple[dict[str, list[str]], list[str]]:
        """Return the files of each stem in a folder of this one, and the others."""
        if folder not in self._folders:
            images: dict[str, list[str]] = {}
            others = []
            path = osp.join(self.folder, folder)
            for entry in os.scandir(path) if osp.isdir(path) else ():
                if (
                    not entry.name.startswith('.')
                    and not (self.but and entry.name.endswith(self.but))
                    and osp.isfile(entry.path)
                ):
                    stem = self._stem(entry.name)
                    if not stem:
                        others.append(entry.name)
                    else:
                        images.setdefault(stem, []).append(entry.name)
            self._folders[folder] = images, others
        return self._folders[folder]

    def _stem(self, file: str) -> str:
        """Return the name of an image without its suffix, or '' for another file."""
        name = file if self.suffixes else file.lower()
        ends = [suffix for suffix in self.suffixes or self.known if name.endswith(suffix)]
        return composed(file[: len(file) - max(map(len, ends))]) if ends else ''
