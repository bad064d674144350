"""The Runner."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch
from urllib.error import URLError

import torch
import torch.nn as nn
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, init_dist, is_distributed, is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, LOOPS, OPTIMIZERS
from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterBasedTrainLoop
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from torch.utils.data import DataLoader

from ..errors import InputError
from ..registry import RUNNERS
from .checkpoints import CheckpointHook, newest_whole
from .faults import TIMEOUT, naming_faults
from .lock import lock_folder
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop, ResumableLoop, check_end
from .record import write_record
from .samples import name_samples
from .sharding import ShardingHook
from .signals import StopRequest, Workers, workers_outlive

#: Settings of a DataLoader that PyTorch allows with workers alone.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')
#: What takes the place of mmengine's own, for runs that can be resumed anywhere.
_RESUMABLE: dict[Any, Any] = {
    MMEngineEpochBasedTrainLoop: EpochBasedTrainLoop,
    MMEngineIterBasedTrainLoop: IterBasedTrainLoop,
    MMEngineCheckpointHook: CheckpointHook,
}
_NOT_DETERMINISTIC = 'does not have a deterministic implementation'


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's Runner, whose training can be stopped anywhere and goes on from there.

    - mmengine's training loops and its CheckpointHook are replaced by those of this package,
      :class:`~edgenext_mm.engine.EpochBasedTrainLoop`,
      :class:`~edgenext_mm.engine.IterBasedTrainLoop` and
      :class:`~edgenext_mm.engine.CheckpointHook`.
    - A run that resumes by itself takes the last checkpoint that is whole.
    - One run at a time trains in a work directory. ``run.json`` in its folder of logs says what the
      run needs to be repeated.
    - With ``randomness.deterministic``, operators that have no deterministic form are named, where
      mmengine ends the run.
    - Several processes train on CPUs as well, by gloo.
    - ``num_workers=0`` of a dataloader is enough: what is set for the workers then has no effect,
      where PyTorch's DataLoader refuses it.

    ``runner_type`` of the configs names this class for the tools of other libraries.

    Example:
        >>> from edgenext_mm.registry import RUNNERS
        >>> RUNNERS.get('edgenext_mm.Runner').__name__
        'Runner'
    """

    _resume: bool
    sharding: ShardingHook | None = None
    stop_request: StopRequest | None = None
    """What CheckpointHook listens to signals by, until the training ends in whatever way."""

    def train(self) -> nn.Module:
        """Train, and return the model.

        Raises:
            InputError: if the config has no data to train on, if another run trains in the work
                directory, if the disk is full, or if data do not come.
            Interrupted: if the run was asked to stop, and has saved a checkpoint.
        """
        self._check_loop('train', self._train_loop, 'optim_wrapper')
        with (
            lock_folder(self.work_dir),
            naming_faults(self.work_dir, training=True),
            self._naming_operators(),
            self._ending_workers(),
        ):
            super().dump_config()
            write_record(self)
            self.stop_request = StopRequest()
            try:
                return super().train()
            finally:
                self.stop_request.close()

    def val(self) -> dict:
        """Validate, and return the metrics.

        Raises:
            InputError: if the config has no such data, or if they do not come.
        """
        self._check_loop('val', self._val_loop, 'val_evaluator')
        with naming_faults(self.work_dir), self._ending_workers():
            return super().val()

    def test(self) -> dict:
        """Test, and return the metrics.

        Raises:
            InputError: if the config has no such data, or if they do not come.
        """
        self._check_loop('test', self._test_loop, 'test_evaluator')
        with naming_faults(self.work_dir), self._ending_workers():
            return super().test()

    def _check_loop(self, name: str, loop: Any, more: str) -> None:
        if loop is None:
            raise InputError(
                f'the config has no {name}_dataloader, {name}_cfg and {more}: set all three'
            )

    @contextmanager
    def _ending_workers(self) -> Iterator[None]:
        """End the workers that are left when a run is over, in whatever way.

        Else the garbage collector does, at any later time, in 5 seconds for each, and in processes
        that were forked before it a second time.
        """
        try:
            with workers_outlive():
                yield
        finally:
            for loop in (self._train_loop, self._val_loop, self._test_loop):
                loader: Any = getattr(loop, 'dataloader', None)
                # Those that stay for the next pass over the data, and those of one that failed.
                staying: Any = getattr(loader, '_iterator', None)
                loading: Any = getattr(loop, 'loading', None)
                for iterator in (staying, loading):
                    if hasattr(iterator, '_shutdown_workers'):
                        iterator._shutdown_workers()
                if staying is not None:
                    loader._iterator = None

    def dump_config(self) -> None:
        """Leave it to the training: a test would write over the config of the run it tests.

        mmengine writes the config of each run into its folder of logs, ``vis_data/config.py``.
        """

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment as mmengine does, where there are no GPUs as well.

        Args:
            env_cfg: of the config.

        Raises:
            InputError: if several processes are to train on CPUs by what is for GPUs; if they do
                not find each other.
        """
        with naming_faults(self.work_dir):
            if self.distributed and get_device() == 'cpu' and not is_distributed():
                self._start_on_cpu(env_cfg.get('dist_cfg') or {})
            super().setup_env(env_cfg)

    def _start_on_cpu(self, dist_cfg: dict) -> None:
        """Start the process group, as mmengine does after it has chosen a GPU."""
        settings = []
        if dist_cfg.get('backend', 'nccl') == 'nccl':
            settings.append('env_cfg.dist_cfg.backend=gloo')
        if self.cfg.get('sync_bn'):
            settings.append('sync_bn=None')
        if settings:
            raise InputError(
                'several processes train on CPUs, for which there is neither NCCL nor SyncBN: set '
                f'{" and ".join(settings)} (docs/training.md says what that means)'
            )
        with patch('torch.cuda.set_device'):  # which mmengine calls in any case
            init_dist(self.launcher, **dist_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes as mmengine does, on CPUs as well.

        Args:
            model_wrapper_cfg: of the config. None means MMDistributedDataParallel.
            model: the model.
        """
        if self.distributed and get_device() == 'cpu' and model_wrapper_cfg is None:
            model_wrapper_cfg = dict(
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
        return super().wrap_model(model_wrapper_cfg, model)

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Set the random seed, as mmengine does.

        Args:
            seed: of the run. None chooses one.
            diff_rank_seed: whether those of processes differ. Defaults to False.
            deterministic: whether to use deterministic operators, where there are any. Defaults
                to False.
        """
        super().set_randomness(seed, diff_rank_seed, deterministic)
        if deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)

    def build_train_loop(self, loop: Any) -> Any:
        """Build a training loop as mmengine does, one that can be resumed."""
        if isinstance(loop, dict):
            loop = dict(loop)
            if 'type' not in loop and 'by_epoch' in loop:
                by_epoch = loop.pop('by_epoch')
                loop['type'] = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
            loop = _resumable(loop, LOOPS)
        return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> Any:
        """Build a validation loop as mmengine does, which comes to an end."""
        loop = super().build_val_loop(loop)
        check_end(loop.dataloader, 'val_dataloader')
        return loop

    def build_test_loop(self, loop: Any) -> Any:
        """Build a test loop as mmengine does, which comes to an end."""
        loop = super().build_test_loop(loop)
        check_end(loop.dataloader, 'test_dataloader')
        return loop

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build what makes the optimizer's steps, as mmengine does.

        Raises:
            InputError: if there is no such optimizer.
        """
        if isinstance(optim_wrapper, dict):
            cfg = optim_wrapper.get('optimizer')
            name = cfg.get('type') if isinstance(cfg, dict) else None
            if isinstance(name, str) and OPTIMIZERS.get(name) is None:
                raise InputError(
                    f'optim_wrapper.optimizer.type is {name!r}, and there is no such optimizer: '
                    "write one of PyTorch's, such as AdamW or SGD"
                )
        return super().build_optim_wrapper(optim_wrapper)

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        """Register the hooks of the config as mmengine does, and the one that ``sharding`` sets."""
        super().register_hooks(*args, **kwargs)
        if self.cfg.get('sharding'):
            self.sharding = HOOKS.build(self.cfg.sharding)
            self.register_hook(self.sharding)

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook as mmengine does, for checkpoints one that can be resumed from."""
        super().register_hook(_resumable(hook, HOOKS) if isinstance(hook, dict) else hook, priority)

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """Build a visualizer as mmengine does, and start what it logs to.

        Raises:
            InputError: if TensorBoard, W&B, MLflow or the like cannot start: if its package is not
                installed, or a server does not answer.
        """
        visualizer = super().build_visualizer(visualizer)
        if is_main_process():  # which alone logs
            for name, backend in visualizer._vis_backends.items():
                try:
                    _ = backend.experiment  # starts with its first use
                except OSError:  # of the disk
                    raise
                except Exception as error:
                    raise InputError(f'{name} of the visualizer cannot start: {error}') from error
        return visualizer

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build a logger as mmengine does, which raises an error when its file cannot be written.

        Others print a traceback for each line.
        """
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _reraise  # type: ignore[method-assign]
        return logger

    def load_or_resume(self) -> None:
        """Load a checkpoint, or resume from one that is whole.

        Raises:
            InputError: if there are checkpoints in the work directory, and all are damaged; if the
                one that was chosen is.
        """
        if self._resume and not self._has_loaded:
            found: list[Any] = [None, None]
            if is_main_process():
                try:
                    found[0] = self._find_checkpoint()
                except InputError as error:  # for the other processes as well
                    found[1] = str(error)
            broadcast_object_list(found)
            if found[1]:
                raise InputError(found[1])
            self._load_from = found[0]
            self._resume = found[0] is not None
        super().load_or_resume()
        if self.sharding and isinstance(self.optim_wrapper, OptimWrapper):  # in a training run
            self.sharding.shard(self)

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint as mmengine does, also of what is sharded; for all processes."""
        with self.sharding.whole(self) if self.sharding else nullcontext():
            super().save_checkpoint(*args, **kwargs)

    def _find_checkpoint(self) -> str | None:
        if self._load_from is not None:
            paths = [self._load_from]
        else:
            hook = next((h for h in self.hooks if isinstance(h, CheckpointHook)), CheckpointHook())
            paths = hook.candidates(self)
        path, faults = newest_whole(paths)
        if path is None and faults:
            raise InputError(
                f'{"; ".join(faults)}: there is no other checkpoint to resume from. Start again '
                'without --resume'
            )
        for fault in faults:
            self.logger.warning(f'{fault}: the run resumes from an earlier checkpoint, {path}')
        if path is None:
            self.logger.warning(
                f'there is no checkpoint in {self.work_dir} to resume from: the run starts from '
                'the beginning'
            )
        return path

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint, as mmengine does, at its place in the data.

        Raises:
            InputError: if the checkpoint is of another run, or of another program.
        """
        try:
            super().resume(filename, *args, **kwargs)
            if isinstance(self.train_loop, ResumableLoop):
                self.train_loop.go_on_from(self._progress)
        except (AttributeError, LookupError, TypeError) as error:
            raise InputError(
                f'{filename} cannot be resumed from: what it says of its run is not what this '
                f'version writes ({type(error).__name__}: {error}). Start a new run from its '
                'weights, by load_from'
            ) from error
        if not isinstance(self.train_loop, ResumableLoop):
            self.logger.warning(
                f'{type(self.train_loop).__name__} begins the pass over the data anew: what '
                'follows is not what the run would have been without a stop'
            )

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint, as mmengine does.

        Raises:
            InputError: if it cannot be downloaded, or does not fit.
        """
        try:
            checkpoint = super().load_checkpoint(*args, **kwargs)
        except URLError as error:
            raise InputError(
                f'cannot download the checkpoint {self._load_from} ({error.reason}): look at the '
                'address and the network, or set load_from to a file'
            ) from error
        self._progress = checkpoint.get('progress')
        return checkpoint

    @contextmanager
    def _naming_operators(self) -> Iterator[None]:
        """Log the operators that are not deterministic, once each, if they should be."""
        if not self.deterministic:
            yield
            return
        named = set()
        show = warnings.showwarning

        def name(message: Any, *args: Any, **kwargs: Any) -> None:
            operator, found, _ = str(message).partition(_NOT_DETERMINISTIC)
            if not found:
                show(message, *args, **kwargs)
            elif operator not in named:
                named.add(operator)
                self.logger.warning(
                    f'{operator.strip()} has no deterministic form: a run of the same seed can '
                    'give other numbers'
                )

        with warnings.catch_warnings():
            warnings.filterwarnings('always', f'.*{_NOT_DETERMINISTIC}')
            warnings.showwarning = name
            yield

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a dataloader as mmengine does, whose workers have 10 minutes for a batch.

        What cannot be loaded is named, see :mod:`~edgenext_mm.engine.samples`.

        Args:
            dataloader: a dataloader, which is returned, or the config of one.
            seed: of the sampler and of the workers. Defaults to None.
            diff_rank_seed: whether the samplers of processes differ. Defaults to False.
        """
        if isinstance(dataloader, dict):
            dataloader = copy.copy(dataloader)
            if dataloader.get('num_workers', 0):
                dataloader.setdefault('timeout', TIMEOUT)
            else:
                for name in _OF_WORKERS:
                    dataloader.pop(name, None)
        loader = MMEngineRunner.build_dataloader(dataloader, seed, diff_rank_seed)
        if not isinstance(loader.worker_init_fn, Workers):
            loader.worker_init_fn = Workers(loader.worker_init_fn)
        name_samples(loader)
        return loader


def _resumable(cfg: dict, registry: Any) -> dict:
    """Return a config of what can be resumed, in the place of mmengine's own."""
    cls = cfg.get('type')
    if isinstance(cls, str):
        cls = registry.get(cls)
    return dict(cfg, type=_RESUMABLE[cls]) if cls in _RESUMABLE else cfg


def _reraise(record: logging.LogRecord) -> None:
    raise  # logging calls it while it handles the error
