"""What the command lines that take a config have in common."""

import argparse
import os
import os.path as osp

from mmengine.config import Config, DictAction

from .checkpoint.zoo import SCHEME
from .errors import InputError


def config_parser(description):
    """Return a parser with the argument ``config`` and the option ``--cfg-options``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config, for example model.backbone.init_cfg=None; lists '
        'are written as key="[a,b]" or key=a,b',
    )
    return parser


def runner_parser(description):
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


def check_file(path):
    """Return the path of a file.

    Raises:
        InputError: if there is no such file.
    """
    if not osp.isfile(path):
        raise InputError(f'the file {path} does not exist')
    return path


def check_checkpoint(checkpoint: str, cfg: Config) -> str:
    """Return the path of a checkpoint file, or for a classifier a short name of a published one.

    Raises:
        InputError: if there is no such file, or if a short name is for another network.
    """
    if not checkpoint.startswith(SCHEME):
        return check_file(checkpoint)
    if cfg.get('default_scope') != 'mmpretrain':
        raise InputError(f'{checkpoint} is a classifier: give a checkpoint of tools/train.py')
    return checkpoint


def load_config(args):
    """Load the config of parsed arguments with its overrides.

    Raises:
        InputError: if there is no such file, or if a variable that names a data root is empty.
    """
    for name in ('COCO_ROOT', 'VOC_ROOT', 'IMAGENET_ROOT'):
        if os.environ.get(name) == '':
            raise InputError(
                f'the environment variable {name} is empty: set it to a folder or unset it'
            )
    cfg = Config.fromfile(check_file(args.config))
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def load_runner_config(args):
    """Load the config of a run: like :func:`load_config`, with work_dir and launcher set.

    The work directory is that of the command line, of the config, or work_dirs/<config's name>.
    """
    cfg = load_config(args)
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    default = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default
    return cfg
