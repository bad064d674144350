"""What an installation has, what is wrong with it, and what cures that.

Importing this module imports the standard library alone: anything else may be missing or broken.
"""

import io
import os
import platform
import shlex
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

#: The library of each task, and the extra of this package that installs it.
EXTRAS = {'mmdet': 'detection', 'mmseg': 'segmentation', 'mmpretrain': 'classification'}

#: The distributions with which the tests run: OpenMMLab's own, and their continuation.
DISTRIBUTIONS = {
    'mmengine': ('mmengine==0.10.7', 'onedl-mmengine==0.10.12'),
    'mmcv': ('mmcv==2.1.0', 'onedl-mmcv==2.3.6'),
    'mmdet': ('mmdet==3.3.0', 'onedl-mmdetection==3.5.1'),
    'mmseg': ('mmsegmentation==1.2.2', 'onedl-mmsegmentation==1.4.2'),
    'mmpretrain': ('mmpretrain==1.2.0', 'onedl-mmpretrain==1.3.6'),
}
_FAMILIES = ("OpenMMLab's own releases", 'their continuation, onedl-*')

#: Modules of the extra ``train``, and the distributions that have them.
MODULES = {
    'torch': 'torch',
    'cv2': 'opencv-python',
    'fvcore': 'fvcore',
    'matplotlib': 'matplotlib',
    'PIL': 'pillow',
    'psutil': 'psutil',
    'pycocotools': 'pycocotools',
    'safetensors': 'safetensors',
    'scipy': 'scipy',
    'tifffile': 'tifffile',
    'tqdm': 'tqdm',
}

#: The environment variables of the data, the default folder of each, and what is to be in it.
DATA_ROOTS = {
    'COCO_ROOT': ('data/coco', ('annotations',)),
    'VOC_ROOT': ('data/VOCdevkit/VOC2012', ('JPEGImages',)),
    'IMAGENET_ROOT': ('data/imagenet', ('train', 'val')),
}


@dataclass(frozen=True)
class Finding:
    """One thing that an installation has or lacks.

    Attributes:
        name: of the thing.
        state: what was found.
        cure: the command that changes it, if something is missing or wrong.
        wrong: whether it has to be changed. What only some need may be missing.

    Example:
        >>> print(Finding('COCO_ROOT', 'no folder data/coco', 'export COCO_ROOT=FOLDER'))
        -        COCO_ROOT               no folder data/coco
                                         export COCO_ROOT=FOLDER
        >>> print(Finding('tqdm', '4.70.1'))
        ok       tqdm                    4.70.1
    """

    name: str
    state: str
    cure: str = ''
    wrong: bool = False

    def __str__(self) -> str:
        mark = 'PROBLEM' if self.wrong else '-' if self.cure else 'ok'
        state = self.state.replace('\n', ' ')
        return f'{mark:<8} {self.name:<23} {state}' + f'\n{"":33}{self.cure}' * bool(self.cure)


def examine() -> Iterator[Finding]:
    """Look at the environment of this process, and yield what is found.

    Nothing that is missing or broken raises an error.
    """
    for check in (_python, _modules, _libraries, _operators, _threads, _data, _weights, _formats):
        try:
            yield from check()
        except Exception as error:  # of a package in any state
            name = check.__name__.removeprefix('_')
            yield Finding(name, f'cannot be examined: {_reason(error)}', wrong=True)


def _reason(error: BaseException) -> str:
    return f'{type(error).__name__}: {error}'


def _fault(module: str) -> str:
    """Return why a module cannot be imported, or '' if it can."""
    try:
        with (
            warnings.catch_warnings(action='ignore'),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            import_module(module)
    except (Exception, SystemExit) as error:  # a package is a program, which may fail in any way
        return _reason(error)
    return ''


def _version(distribution: str) -> str:
    """Return the version of a distribution, or '' if it is not installed."""
    try:
        return version(distribution) or ''
    except Exception:  # what pip left of it may be anything, such as a folder without metadata
        return ''


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _python() -> Iterator[Finding]:
    yield Finding('python', f'{platform.python_version()} on {platform.platform()}')
    yield Finding('edgenext_mm', f'{_version("edgenext_mm") or "not installed"}, {_here()}')


def _here() -> Path:
    return Path(__file__).parents[1]


def _modules() -> Iterator[Finding]:
    for module, distribution in MODULES.items():
        if not _is_there(module):
            yield Finding(module, 'not installed', "pip install 'edgenext_mm[train]'", wrong=True)
        elif fault := _fault(module):
            pin = f'{distribution}=={_version(distribution)}'.removesuffix('==')
            cure = f'pip install --force-reinstall --no-deps {pin}'
            yield Finding(module, f'cannot be imported ({fault})', cure, wrong=True)
        else:
            yield Finding(
                module, (_version(distribution) or 'found') + _devices() * (module == 'torch')
            )


def _devices() -> str:
    import torch

    try:
        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except Exception as error:  # of a driver in any state; there are CPUs
        return f', no GPU can be used: {_reason(error)}'
    built = f'built for CUDA {torch.version.cuda}' if torch.version.cuda else 'built for the CPU'
    return f', {built}, {"; ".join(gpus) or "no GPU"}'


def _libraries() -> Iterator[Finding]:
    found = {}
    # What is missing comes from the family that is there: two of a library are a fault.
    has_own = any(_version(pins[0].partition('==')[0]) for pins in DISTRIBUTIONS.values())
    for module, pins in DISTRIBUTIONS.items():
        names = [pin.partition('==')[0] for pin in pins]
        installed = [name for name in names if _version(name)]
        states = [f'{name} {_version(name)}' for name in installed]
        found[module] = [name in installed for name in names]
        pin = pins[names.index(installed[0])] if installed else pins[1]
        if not _is_there(module):
            extra = EXTRAS.get(module, 'detection')  # each of which brings mmengine and mmcv
            cure = f"pip install --no-build-isolation 'edgenext_mm[{extra}]'"
            cure = _reinstall(pins[0]).replace(' --force-reinstall', '') if has_own else cure
            yield Finding(module, 'not installed', cure, wrong=module not in EXTRAS)
        elif len(installed) > 1:
            cure = f'pip uninstall --yes {" ".join(names)}; {_reinstall(pin)}'
            yield Finding(module, f'two have it: {" and ".join(states)}', cure, wrong=True)
        elif fault := _fault(module):
            state = f'{"".join(states)} cannot be imported ({fault})'
            yield Finding(module, state.strip(), _reinstall(pin), wrong=True)
        else:
            yield Finding(module, ''.join(states) or 'found')
    if not any(_is_there(module) for module in EXTRAS):
        cure = "pip install --no-build-isolation 'edgenext_mm[detection]'"
        yield Finding('tasks', 'no library of any task', cure, wrong=True)
    own = [pins for module, pins in DISTRIBUTIONS.items() if found[module] == [True, False]]
    continued = [pins for module, pins in DISTRIBUTIONS.items() if found[module] == [False, True]]
    if own and continued:
        names = [pins[0].partition('==')[0] for pins in own]
        cure = f'pip uninstall --yes {" ".join(names)}; {_reinstall(*(pins[1] for pins in own))}'
        yield Finding('family', f'mixed: {" and ".join(_FAMILIES)}', cure, wrong=True)
    elif own or continued:
        yield Finding('family', _FAMILIES[bool(continued)])


def _reinstall(*pins: str) -> str:
    """Return the command that installs libraries, of which mmcv compiles its operators."""
    command = f'pip install --force-reinstall --no-deps --no-build-isolation {" ".join(pins)}'
    if any('mmcv==' in pin for pin in pins):
        return f"CFLAGS='-g0 -O1' MMCV_WITH_OPS=1 {command} --no-cache-dir"
    return command


def _operators() -> Iterator[Finding]:
    if not _is_there('mmcv'):
        return
    if fault := _fault('mmcv.ops'):
        pins = DISTRIBUTIONS['mmcv']
        cure = _reinstall(pins[0] if _version('mmcv') else pins[1])
        yield Finding(
            'mmcv.ops', f'no compiled operators for this torch ({fault})', cure, wrong=True
        )
    else:
        yield Finding('mmcv.ops', 'compiled operators')


def _threads() -> Iterator[Finding]:
    chosen = [
        f'{name}={value}'
        for name, value in sorted(os.environ.items())
        if name.startswith(('OMP_', 'GOMP_', 'KMP_'))
    ]
    load = f', load {os.getloadavg()[0]:.1f}' if hasattr(os, 'getloadavg') else ''
    state = f'{os.cpu_count()} processors{load}; '
    policy = 'the wait policy follows the load at the start of a run'
    yield Finding('threads', state + (', '.join(chosen) or policy))


def _data() -> Iterator[Finding]:
    for name, (default, parts) in DATA_ROOTS.items():
        value = os.environ.get(name)
        folder = Path(default if value is None else value)
        wanted = ' and '.join(f'{part}/' for part in parts)
        cure = f'export {name}=FOLDER  # one with {wanted}'
        if value == '':
            yield Finding(name, 'is set to nothing', f'unset {name}', wrong=True)
            continue
        try:
            present = {entry.name for entry in os.scandir(folder)}
        except FileNotFoundError:
            yield Finding(name, f'no folder {folder}', cure, wrong=value is not None)
        except OSError as error:
            remedy = f'chmod -R u+rX {shlex.quote(str(folder))}'
            remedy = cure if isinstance(error, NotADirectoryError) else remedy
            yield Finding(name, f'{folder} cannot be read ({error})', remedy, wrong=True)
        else:
            if missing := [part for part in parts if part not in present]:
                yield Finding(name, f'{folder} lacks {", ".join(missing)}', cure, wrong=True)
            else:
                yield Finding(name, str(folder))


def _weights() -> Iterator[Finding]:
    if fault := _fault('edgenext_mm.checkpoint.files'):
        yield Finding('weights', f'not looked for ({fault})', 'see above')
        return
    import torch

    from ..checkpoint.files import FOLDER, place
    from ..checkpoint.zoo import RELEASES

    folder = os.environ.get(FOLDER)
    if folder and not os.path.isdir(folder):
        yield Finding(FOLDER, f'no folder {folder}', f'mkdir -p {shlex.quote(folder)}', wrong=True)
    else:
        yield Finding(FOLDER, folder or 'not set')
    places = {name: Path(place(release.url)) for name, release in RELEASES.items()}
    present = [name for name, path in places.items() if path.is_file()]
    cache = Path(torch.hub.get_dir(), 'checkpoints')
    ground = next(parent for parent in (cache, *cache.parents) if parent.exists())
    if not os.access(ground, os.W_OK):
        cure = 'export TORCH_HOME=FOLDER  # one that can be written'
        yield Finding('cache', f'{cache} cannot be written', cure, wrong=True)
    else:
        yield Finding('cache', str(cache))
    yield Finding('weights', ', '.join(present) or 'none yet: they are downloaded when in use')


def _formats() -> Iterator[Finding]:
    from ..errors import InputError
    from ..export.options import FORMATS, check_packages

    for name, form in FORMATS.items():
        try:
            check_packages(form.packages, form.extra)
        except InputError as error:
            state, _, cure = str(error).partition(': ')
            yield Finding(name, state, cure)
        else:
            yield Finding(
                name,
                ', '.join(f'{package} {_version(package)}' for package in form.packages)
                or 'PyTorch',
            )
