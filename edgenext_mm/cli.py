"""What the command lines have in common.

A tool parses its arguments first, by :func:`parse_args`, and imports what it works with afterwards:
PyTorch and OpenMMLab take seconds, and ``--help`` needs neither.
"""

import argparse
import ast
import copy
import difflib
import logging
import os
import os.path as osp
import re
import sys
import tempfile
import warnings
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from .analysis.doctor import EXTRAS
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from mmengine.config import Config
    from mmengine.runner import Runner

    from .analysis.drawing import Result

#: How often an idle OpenMP thread of PyTorch looks for new work before it sleeps, where libgomp has
#: 300000: see docs/performance.md, "In company".
SPIN_COUNT = 10_000

# Options of model_parser.
_OF_FILES = ('runtime', 'threads', 'precision')
_OF_CONFIGS = ('checkpoint', 'device', 'cfg_options')

# The beginnings of warnings that a user can do nothing about.
_NOISE = (
    '"FileClient" will be deprecated',  # OpenMMLab's libraries use it
    '"HardDiskBackend" is the alias',  # FileClient uses it
    'No CUDA runtime is found',  # the CPU is meant
    'The draw is False',  # tools/test.py --show-dir draws
    'Warning: Profiler clears events',  # each measurement of memory has a profiler of its own
    'Image size ',  # Pillow; edgenext_mm.images names the file
    'faster_coco_eval is not installed',  # no config here needs it
    '`isinstance(treespec, LeafSpec)`',  # ExecuTorch, hundreds of times
    'guard_size_oblivious will be removed',  # ExecuTorch
    'This API is experimental',  # ExecuTorch's runtime
    'Guards may run slower on Python 3.13.0',  # ExecuTorch, for each graph that it captures
)


def config_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the argument ``config`` and the option ``--cfg-options``.

    Example:
        >>> from edgenext_mm.cli import config_parser
        >>> parser = config_parser('Show a config.')
        >>> args = parser.parse_args(['config.py', '--cfg-options', 'a.b=1', 'c=[2,3]'])
        >>> args.config, args.cfg_options
        ('config.py', ['a.b=1', 'c=[2,3]'])
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        'config', help='config file, or edgenext_mm::PATH for one that comes with the package'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        type=_override,
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config, for example model.backbone.init_cfg=None; lists '
        'are written as key="[a,b]" or key=a,b',
    )
    return parser


def _override(word: str) -> str:
    if '=' not in word:
        raise argparse.ArgumentTypeError(f'{word!r} is not of the form KEY=VALUE')
    return word


def positive(word: str) -> int:
    """Return a number of things, as the type of an argument.

    Example:
        >>> positive('3')
        3
    """
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f'{word} is less than 1')
    return number


def runner_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a config parser with the options of a run: ``--work-dir`` and ``--launcher``."""
    parser = config_parser(description)
    parser.add_argument('--work-dir', help='where logs and checkpoints go')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher, see tools/dist_train.sh',
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0)
    return parser


def parse_args(parser: argparse.ArgumentParser, trains: bool = False) -> argparse.Namespace:
    """Parse the command line, and prepare the process before PyTorch is imported.

    Args:
        parser: the parser.
        trains: for a tool that works for hours: see :func:`share_processors`.
    """
    args = parser.parse_args()
    if trains:
        share_processors()
    prepare_process()
    return args


def model_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for an exported file or a config with its checkpoint.

    Example:
        >>> args = model_parser('Predict.').parse_args(['model.onnx', '--threads', '2'])
        >>> args.model, args.threads, args.checkpoint
        ('model.onnx', 2, None)
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('model', help='file of tools/export.py, or a config with --checkpoint')
    parser.add_argument(
        '--runtime',
        choices=['onnxruntime', 'openvino', 'opencv', 'litert', 'ncnn'],
        help="of an exported file (default: its suffix's)",
    )
    parser.add_argument('--threads', type=int, help="of an exported file's runtime")
    parser.add_argument(
        '--precision', help='of OpenVINO, such as f32 (default: bfloat16 where the CPU has it)'
    )
    parser.add_argument('--checkpoint', '--weights', help='of a config')
    parser.add_argument('--device', help='of a config, such as cpu or cuda:0')
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE'
    )
    return parser


def parse_model_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line of :func:`model_parser`, as :func:`parse_args` does.

    Raises:
        InputError: if an option is not for this kind of model, or a config has no checkpoint.
    """
    args = parse_args(parser)
    is_config = args.model.endswith('.py')
    wrong = _OF_FILES if is_config else _OF_CONFIGS
    for name in wrong:
        if getattr(args, name):
            kind = 'exported files' if is_config else 'configs'
            raise InputError(f'--{name.replace("_", "-")} is for {kind}, and not for {args.model}')
    if is_config and not args.checkpoint:
        raise InputError(f'{args.model} needs its weights: --checkpoint FILE')
    return args


def load_model(args: argparse.Namespace) -> 'tuple[Callable[[np.ndarray], Result], str | int]':
    """Load the model of :func:`parse_model_args`.

    Returns:
        What predicts an array, and the color type of images that it takes: see
        :func:`~edgenext_mm.analysis.inference.load_predictor`.

    Raises:
        InputError: if a file is missing or broken, or does not fit.
    """
    from .analysis.inference import load_inferencer, load_predictor

    if not args.model.endswith('.py'):
        return load_predictor(args.model, **{name: getattr(args, name) for name in _OF_FILES})
    args.config = args.model
    cfg = load_config(args)
    return load_inferencer(cfg, check_checkpoint(args.checkpoint, cfg), args.device)


def share_processors() -> None:
    """Choose how long OpenMP's threads look for new work before they sleep.

    Alone on a machine, long is fastest. But threads that look take the processors away from those
    that work as soon as another process needs one. So they sleep at once if others are busy now.
    To be called before PyTorch is imported, which is when OpenMP reads its settings. What the user
    has set in the environment stays.
    """
    names = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')
    if any(name in names or name.startswith('KMP_') for name in os.environ):
        return
    processors = psutil.cpu_count()
    busy = psutil.cpu_percent(interval=0.2) / 100 * processors
    if busy < 0.5:
        os.environ['GOMP_SPINCOUNT'] = str(SPIN_COUNT)
    else:
        os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'
        print(
            f'Other processes keep {busy:.1f} of {processors} processors busy: this run shares '
            'them (OMP_WAIT_POLICY=PASSIVE), and is slower than alone.',
            file=sys.stderr,
        )


def prepare_process() -> None:
    """Silence what the libraries say about themselves.

    The log of a Runner, errors, and warnings but those that nobody can act on are shown as ever.
    """
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # each start of PyTorch's profiler
    for message in _NOISE:
        warnings.filterwarnings('ignore', re.escape(message))

    import mmengine.logging

    # The log until there is a Runner's: each initial weight, each variable of the environment.
    mmengine.logging.MMLogger.get_instance('mmengine').setLevel(logging.WARNING)
    mmengine.logging.MMLogger.filter = _filter
    mmengine.logging.print_log = _print_log
    logging.getLogger('torch.utils.cpp_extension').addFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOISE)


def _filter(logger: logging.Logger, record: logging.LogRecord) -> Any:
    return _is_wanted(record) and logging.Logger.filter(logger, record)


def _print_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
    """Do what mmengine's print_log does, and leave out debugging messages without a logger.

    mmengine prints these too: mmdet and mmpretrain say four times that there is no OneDL.
    """
    import mmengine.logging.logger

    if logger is not None or level >= logging.INFO:
        mmengine.logging.logger.print_log(msg, logger, level)


def check_file(path: str) -> str:
    """Return the path of a file.

    Raises:
        InputError: if there is no such file.
    """
    if not osp.isfile(path):
        raise InputError(f'the file {path} does not exist')
    return path


def check_checkpoint(checkpoint: str, cfg: 'Config') -> str:
    """Return the path of a checkpoint file, or for a classifier a short name of a published one.

    Raises:
        InputError: if there is no such file, or if a short name is for another network.
    """
    from .checkpoint.zoo import RELEASES, SCHEME

    if not checkpoint.startswith(SCHEME):
        return check_file(checkpoint)
    if cfg.get('default_scope') == 'mmpretrain':
        return checkpoint
    if checkpoint.removeprefix(SCHEME) in RELEASES:
        raise InputError(f'{checkpoint} is a classifier: give a checkpoint of tools/train.py')
    raise InputError(
        f'{checkpoint} is of CVNets: give what tools/convert_checkpoint.py --from cvnets writes'
    )


def load_config(args: argparse.Namespace) -> 'Config':
    """Load the config of parsed arguments with its overrides.

    An override of a variable at the top level of the config, or of one of its bases, reaches all
    that is computed from it: ``input_size=512`` each pipeline, ``max_epochs=10`` the schedule,
    ``metainfo.classes=...`` each dataset. The values are those of mmengine's DictAction, but texts
    keep their blanks, and what Python writes in quotes or brackets is what it is in Python.

    Raises:
        InputError: if there is no such file, if a variable that names a data root is empty, if the
            config's library is not installed, or if an override is malformed or for a setting that
            is not there.
    """
    from mmengine.config import Config

    from .configs import PREFIX, config_path

    for name in ('COCO_ROOT', 'VOC_ROOT', 'IMAGENET_ROOT'):
        if os.environ.get(name) == '':
            raise InputError(
                f'the environment variable {name} is empty: set it to a folder or unset it'
            )
    is_ours = args.config.startswith(PREFIX)
    path = config_path(args.config) if is_ours else check_file(args.config)
    try:
        cfg = Config.fromfile(path)
    except InputError:
        raise
    except Exception as error:  # a config is a program, which may fail in any way
        raise InputError(
            f'{args.config} cannot be read as a config ({type(error).__name__}: {error})'
        ) from error
    library = cfg.get('default_scope')
    if library in EXTRAS and find_spec(library) is None:
        raise InputError(
            f'{args.config} needs {library}, which is not installed: edgenext-mm doctor says how'
        )
    try:
        overrides = {
            key: _value(text) for key, _, text in (word.partition('=') for word in args.cfg_options)
        }
        for key in overrides:
            name = key.partition('.')[0]
            similar = [] if name in cfg else difflib.get_close_matches(name, cfg, 1, 0.85)
            if similar:
                raise KeyError(f'the config has no {name}: did you mean {similar[0]}?')
        variables = {
            name: tuple(value)
            if isinstance(cfg[name], tuple) and isinstance(value, list)
            else value
            for name, value in overrides.items()
            if name in cfg
        }
        if variables:
            cfg = _computed(cfg, path, variables)
        # Parts of variables that no Runner reads, such as metainfo: what is computed from them.
        parts = {
            key: value
            for key, value in overrides.items()
            if '.' in key and (name := key.partition('.')[0]) in cfg and name not in _read()
        }
        if parts:
            changed = copy.deepcopy(cfg)
            changed.merge_from_dict(parts)
            names = {key.partition('.')[0] for key in parts}
            variables |= {name: changed.to_dict()[name] for name in names}
            cfg = _computed(cfg, path, variables)
        cfg.merge_from_dict(overrides | variables)
    except InputError:
        raise
    except Exception as error:  # of the config, which computes with them, as well
        words = ' '.join(args.cfg_options)
        text = error.args[0] if len(error.args) == 1 else error
        raise InputError(f'--cfg-options {words}: {text}') from error
    return cfg


def _computed(cfg: 'Config', path: str, variables: dict[str, Any]) -> 'Config':
    """Return a config that is computed with other values of variables."""
    from mmengine.config import Config

    with tempfile.TemporaryDirectory() as folder:
        computed = Config.fromfile(_copy_with(variables, Path(path), Path(folder)))
    return Config(computed.to_dict(), cfg_text=cfg.text, filename=cfg.filename)


def _read() -> set[str]:
    """Return the settings that a Runner reads, of which a part is changed where it stands."""
    from mmengine.runner import Runner

    return {*signature(Runner.__init__).parameters}


def _value(text: str) -> Any:
    """Return the value of an override."""
    from mmengine.config import DictAction

    if text.startswith(('"', "'", '(', '[', '{')):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):  # such as [a,b], which mmengine takes for texts
            pass
    elif '(' in text or '[' in text or (',' in text and osp.exists(text)):  # a path
        return text
    overrides = argparse.Namespace()
    DictAction([], 'options')(argparse.ArgumentParser(), overrides, [f'_={text}'])
    value = overrides.options['_']
    if isinstance(value, str):
        return text.strip('\'"') if text.startswith(('"', "'")) else text
    return value


def _copy_with(variables: dict[str, Any], config: Path, folder: Path) -> Path:
    """Copy a config and its bases into a folder, with other values of variables.

    Returns:
        The copy, or the config itself if it is not of the kind in which bases have these variables.
    """
    from .configs import PREFIX, config_path

    text = config.read_text(encoding='utf-8')
    text = re.sub(r'{{\s*fileDirname\s*}}', lambda _: config.parent.resolve().as_posix(), text)
    try:
        code = ast.parse(text)
        for node in code.body:
            match node:
                case ast.Assign(targets=[ast.Name('_base_')], value=value):
                    bases = ast.literal_eval(value)
                    bases = [
                        config_path(base) if base.startswith(PREFIX) else base
                        for base in ([bases] if isinstance(bases, str) else bases)
                    ]
                    bases = [
                        base
                        if '::' in base  # of another package
                        else str(
                            _copy_with(variables, config.parent.resolve() / base, folder / str(i))
                        )
                        for i, base in enumerate(bases)
                    ]
                    node.value = _literal(bases)
                case ast.Assign(targets=[ast.Name(name)]) if name in variables:
                    node.value = _literal(variables[name])
                case ast.With() | ast.Import() | ast.ImportFrom():  # mmengine's read_base
                    return config
    except (SyntaxError, ValueError):
        return config
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / config.name
    copy.write_text(ast.unparse(code), encoding='utf-8')
    return copy


def _literal(value: Any) -> ast.expr:
    return ast.parse(repr(value), mode='eval').body


def load_runner_config(args: argparse.Namespace) -> 'Config':
    """Load the config of a run: like :func:`load_config`, with work_dir and launcher set.

    The work directory is that of the command line, of the config, or work_dirs/<config's name>.
    """
    cfg = load_config(args)
    cfg.launcher = args.launcher
    cfg.runner_type = cfg.get('runner_type', 'edgenext_mm.Runner')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    default = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default
    return cfg


def build_tester(
    cfg: 'Config',
    file: str,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
) -> 'Runner':
    """Build the Runner that tests a checkpoint, or an exported file in the place of the model.

    Args:
        cfg: the config, which is changed.
        file: checkpoint, short name of a published classifier, or file of tools/export.py.
        runtime: of an exported file, see :class:`~edgenext_mm.export.model.ExportedModel`.
        threads: of an exported file.
        precision: of an exported file.

    Raises:
        InputError: if there is no such file, or if it is for another task or other classes.
    """
    from mmengine.registry import RUNNERS

    from .datasets.checks import leaves
    from .export.files import is_exported
    from .export.model import put_in_place

    exported = is_exported(file)
    if exported:
        put_in_place(cfg, file, runtime, threads, precision)
    else:
        cfg.load_from = check_checkpoint(file, cfg)
    runner = RUNNERS.build(cfg)
    if exported:
        for dataset in leaves(runner.test_dataloader.dataset):
            runner.model.check_classes(getattr(dataset, 'metainfo', {}).get('classes'))
    return runner
