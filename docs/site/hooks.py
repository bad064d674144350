"""What the site has beside the pages of docs/.

README.md, CONTRIBUTING.md and CHANGELOG.md are pages, and so is each file of the repository that a
page links to: a link is written for GitHub, and works here too. The reference has a page for each
package, with the names that it exports.
"""

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
AT_THE_TOP = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.md': 'changelog.md',
}
PACKAGES = ('models', 'datasets', 'engine', 'checkpoint', 'deploy', 'export', 'runtime')
# edgenext_mm.export exports nothing, for tools/export.py to have its options before PyTorch.
OF_EXPORT = ('api.export', 'options.Options', 'files.open_session')
_LINK = re.compile(r'(?<=\]\()(?!\w+:|#)([^)#\s]+)')


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for source, page in AT_THE_TOP.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for package in PACKAGES:
        content = _reference(package)
        files.append(File.generated(config, f'reference/{package}.md', content=content))
    for file in [*files.documentation_pages()]:
        for link in _LINK.findall(file.content_string):
            path = _linked(file, link)
            page = _page_of(path)
            if page.startswith('files/') and not files.get_file_from_path(page):
                text = (ROOT / path).read_text().rstrip()
                kind = PurePosixPath(path).suffix[1:] or 'text'
                content = f'# {path}\n\n````{kind}\n{text}\n````\n'
                how = dict(content=content, inclusion=InclusionLevel.NOT_IN_NAV)
                files.append(File.generated(config, page, **how))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages."""
    folder = str(PurePosixPath(page.file.src_uri).parent)
    if folder.startswith('files'):  # code, in which nothing is a link
        return markdown
    return _LINK.sub(lambda m: relpath(_page_of(_linked(page.file, m[0])), folder), markdown)


def _linked(file: File, link: str) -> str:
    """Return the path in the repository that a link of a page leads to."""
    return normpath(link if file.src_uri in AT_THE_TOP.values() else f'docs/{link}')


def _page_of(path: str) -> str:
    """Return the path in the site of a file of the repository."""
    if path in AT_THE_TOP:
        return AT_THE_TOP[path]
    return path.removeprefix('docs/') if path.startswith('docs/') else f'files/{path}.md'


def _reference(package: str) -> str:
    whole = f'edgenext_mm.{package}'
    init = ast.parse((ROOT / 'edgenext_mm' / package / '__init__.py').read_text())
    names = sorted(_exported(whole, init), key=lambda name: name.rpartition('.')[2].lower())
    how = ''
    if package == 'export':
        names = [f'{whole}.{name}' for name in OF_EXPORT]
        how = '\n    options: {show_root_full_path: true}'
    entries = (f'::: {name}{how}' for name in names)
    return '\n\n'.join([f'# {whole}', ast.get_docstring(init) or '', *entries])


def _exported(package: str, init: ast.Module) -> Iterator[str]:
    """Yield the whole names of what a package exports, without importing it."""
    for node in init.body:
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=level):
                origin = resolve_name('.' * level + module, package)
                if origin != 'edgenext_mm.registry':
                    yield from (f'{origin}.{alias.name}' for alias in names)
            case ast.Assign(targets=[ast.Name('_BY_TASK')], value=value):
                for module, names in ast.literal_eval(value).items():
                    yield from (f'{package}.{module}.{name}' for name in names)
