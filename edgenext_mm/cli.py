"""What the command lines have in common.

A tool parses its arguments first, by :func:`parse_args`, and imports what it works with afterwards:
PyTorch and OpenMMLab take seconds, and ``--help`` needs neither.
"""

import argparse
import logging
import os
import os.path as osp
import sys
import warnings
from typing import TYPE_CHECKING, Any

import psutil

from .errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

#: How often an idle OpenMP thread of PyTorch looks for new work before it sleeps, where libgomp has
#: 300000: see docs/performance.md, "In company".
SPIN_COUNT = 10_000

# The beginnings of warnings that a user can do nothing about.
_NOISE = (
    '"FileClient" will be deprecated',  # OpenMMLab's libraries use it
    '"HardDiskBackend" is the alias',  # FileClient uses it
    'No CUDA runtime is found',  # the CPU is meant
    'The draw is False',  # tools/test.py --show-dir draws
    'Warning: Profiler clears events',  # each measurement of memory has a profiler of its own
    'Image size ',  # Pillow; edgenext_mm.images names the file
    'faster_coco_eval is not installed',  # no config here needs it
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
    parser.add_argument('config', help='config file')
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
        warnings.filterwarnings('ignore', message)

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
    from .checkpoint.zoo import SCHEME

    if not checkpoint.startswith(SCHEME):
        return check_file(checkpoint)
    if cfg.get('default_scope') != 'mmpretrain':
        raise InputError(f'{checkpoint} is a classifier: give a checkpoint of tools/train.py')
    return checkpoint


def load_config(args: argparse.Namespace) -> 'Config':
    """Load the config of parsed arguments with its overrides.

    Raises:
        InputError: if there is no such file, if a variable that names a data root is empty, or if
            an override is malformed or for a setting that is not there.
    """
    from mmengine.config import Config, DictAction

    for name in ('COCO_ROOT', 'VOC_ROOT', 'IMAGENET_ROOT'):
        if os.environ.get(name) == '':
            raise InputError(
                f'the environment variable {name} is empty: set it to a folder or unset it'
            )
    cfg = Config.fromfile(check_file(args.config))
    overrides = argparse.Namespace()
    try:
        DictAction([], 'options')(argparse.ArgumentParser(), overrides, args.cfg_options)
        cfg.merge_from_dict(overrides.options)
    except (AssertionError, KeyError, TypeError) as error:
        words = ' '.join(args.cfg_options)
        raise InputError(f'--cfg-options {words}: {error.args[0]}') from error
    return cfg


def load_runner_config(args: argparse.Namespace) -> 'Config':
    """Load the config of a run: like :func:`load_config`, with work_dir and launcher set.

    The work directory is that of the command line, of the config, or work_dirs/<config's name>.
    """
    cfg = load_config(args)
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    default = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default
    return cfg
