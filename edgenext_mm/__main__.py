"""``edgenext-mm COMMAND``, or ``python -m edgenext_mm COMMAND``: the tools as one command.

A command calls ``main`` of its file in ``tools/``, as ``python tools/FILE`` does. The package has
these files in ``.mim/tools``, as the libraries of OpenMMLab have theirs: so there is one code for
both, and scripts such as ``dist_train.sh`` come along.
"""

import argparse
import ast
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from .analysis.doctor import EXTRAS, MODULES
from .errors import exit_on_input_error
from .version import __version__

_TOOLS = Path(__file__).parent / '.mim' / 'tools'
_FILES = {'predict': 'infer.py', 'check': 'check_dataset.py'}
_FIRST = ('train', 'test', 'predict', 'export', 'check', 'benchmark', 'doctor')


def commands() -> dict[str, Path]:
    """Return the file of each command, in the order of the help.

    Example:
        >>> [*commands()][:3], commands()['predict'].name, commands()['publish-model'].name
        (['train', 'test', 'predict'], 'infer.py', 'publish_model.py')
    """
    names = {file: name for name, file in _FILES.items()}
    found = {
        names.get(path.name, path.stem.replace('_', '-')): path
        for path in sorted(_TOOLS.rglob('*.py'))
    }
    return {name: found[name] for name in dict.fromkeys([*_FIRST, *found])}


def _load(path: Path) -> Any:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # it is a file of Python
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def main() -> None:
    """Run the command that the command line names."""
    files = commands()
    lines = [
        f'  {name:<20}{ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))}'
        for name, path in files.items()
    ]
    parser = argparse.ArgumentParser(
        'edgenext-mm',
        usage='%(prog)s [-h] [--version] COMMAND ...',
        description='EdgeNeXt for detection, segmentation and classification with OpenMMLab.',
        epilog='\n'.join(['commands:', *lines, '', 'edgenext-mm COMMAND --help has the options.']),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument('command', choices=files, metavar='COMMAND', help='one of those below')
    command = parser.parse_args(sys.argv[1:2]).command
    sys.argv[:2] = [f'edgenext-mm {command}']
    try:
        with exit_on_input_error():
            _load(files[command]).main()
    except ImportError as error:
        needed = {'mmengine', 'mmcv', *EXTRAS, *MODULES}
        if (error.name or '').partition('.')[0] not in needed:
            raise
        sys.exit(f'error: {error}: edgenext-mm doctor says what to do')


if __name__ == '__main__':
    main()
