"""Training loops whose length follows the data, and which can be stopped and resumed anywhere."""

import gc
import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

from mmengine.dist import broadcast, get_rank, get_world_size
from mmengine.hooks import EarlyStoppingHook, EMAHook
from mmengine.runner import BaseLoop, Runner
from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterBasedTrainLoop
from torch.utils.data import DataLoader

from ..errors import InputError, Interrupted
from ..registry import LOOPS
from .faults import naming_memory
from .hooks import unwrapped
from .randomness import seed_iteration
from .samplers import PlacedBatches

#: Validations of a run.
VALIDATIONS = 10


def check_end(loader: DataLoader, name: str) -> None:
    """Check that the sampler comes to an end, which the pass over the data has with it.

    Args:
        loader: the dataloader.
        name: of its setting.

    Raises:
        InputError: if it does not, as mmengine's InfiniteSampler and mmdet's MultiSourceSampler.
    """
    sampler = getattr(loader.batch_sampler, 'sampler', None)
    if hasattr(sampler, '_infinite_indices'):
        trains = name == 'train_dataloader'
        raise InputError(
            f'{name}.sampler is of the type {type(sampler).__name__}, which has no end: set '
            f'{name}.sampler.type=DefaultSampler'
            f'{", or train_cfg.type=IterBasedTrainLoop with max_iters" * trains}'
        )


def _built(runner: Runner, dataloader: DataLoader | dict, by_epoch: bool = False) -> Any:
    """Return a loader whose batches can begin at any place of the run."""
    diff_rank_seed = (runner.cfg.get('randomness') or {}).get('diff_rank_seed', False)
    loader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=diff_rank_seed)
    if loader.batch_sampler is None:
        raise InputError(
            'train_dataloader makes no batches (batch_size=None): set batch_size or batch_sampler'
        )
    if by_epoch:
        check_end(loader, 'train_dataloader')
    if not isinstance(loader.batch_sampler, PlacedBatches):
        # A DataLoader lets nobody set it later, for the sake of those that have been iterated.
        vars(loader)['batch_sampler'] = PlacedBatches(loader.batch_sampler)
    return loader


def _check_length(loader: Any, **settings: int) -> None:
    """Check that there is an iteration to train in.

    Raises:
        InputError: if there is none.
    """
    for name, value in settings.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f'train_cfg.{name} is {value}: set a whole number of 1 or more')
    if not len(loader):
        _refuse_without_batch(loader)


def _refuse_without_batch(loader: Any) -> None:
    raise InputError(
        f'the training data of {len(loader.dataset)} images make no batch: lower batch_size of '
        'train_dataloader, or set drop_last=False'
    )


@contextmanager
def _shared_with_workers() -> Iterator[None]:
    """Keep memory that workers share with this process shared, as long as the context lasts.

    Forked workers have the pages of this process until one of them writes there. Each time that the
    garbage collector looks through all objects, it writes to all of them, and each process gets a
    copy: after hundreds or thousands of iterations, some 100 MiB in each. So it leaves out what
    there is when the training begins.
    """
    # Where the program itself has done so, it stays. Python 3.12 starts with some hundred objects.
    if gc.get_freeze_count() > 10_000:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class ResumableLoop(BaseLoop):
    """The part of a training loop that knows its place in the run.

    Each iteration and each sample has random numbers that depend on the seed and the place alone,
    see :mod:`~edgenext_mm.engine.randomness`. A place is the number of the pass over the data,
    which is the epoch if a loop counts these, and of the batch in it.
    """

    runner: Any
    dataloader: Any
    stop_training: bool
    _epoch: int
    _iter: int
    #: Iteration at which the pass over the data began.
    _begin = 0
    _is_validated = False
    #: The DataLoader's pass over the data, with the workers.
    loading: Any = None

    @property
    def pass_number(self) -> int:
        """The pass over the data."""
        return self._epoch

    @pass_number.setter
    def pass_number(self, value: int) -> None:
        self._epoch = value

    def progress(self, meta: dict[str, int]) -> dict[str, Any]:
        """Return the place of a checkpoint in the run, and what else to know there.

        Args:
            meta: ``epoch`` and ``iter`` of the checkpoint.
        """
        # At the end of an epoch, CheckpointHook is ahead of the loop.
        is_over = meta['epoch'] > self._epoch
        return dict(
            pass_number=self.pass_number + is_over,
            done=0 if is_over else meta['iter'] - self._begin,
            per_pass=len(self.dataloader),
            samples=self._samples(),
            sampler_seed=getattr(self._sampler(), 'seed', None),
            is_validated=self._is_validated,
            stop_training=self.stop_training,
            early_stopping=[(h.wait_count, h.best_score) for h in self._early_stopping()],
        )

    def go_on_from(self, progress: dict[str, Any] | None) -> None:
        """Take the place in the run that a checkpoint has, which mmengine has read.

        Args:
            progress: what :meth:`progress` returned, or None if another library has saved it.
        """
        sampler = self._sampler()
        if progress is None:
            self.runner.logger.warning(
                'the checkpoint does not say where in the data the run was, which is taken from '
                'the number of its iterations'
            )
            self._guess()
            # The sampler was made before the checkpoint told the seed of the run.
            if hasattr(sampler, 'seed') and sampler.seed is not None:
                sampler.seed = self.runner.seed
            return
        if progress['sampler_seed'] is not None:
            sampler.seed = progress['sampler_seed']
        self.pass_number = progress['pass_number']
        self._begin = self._iter - progress['done']
        self._is_validated = progress['is_validated']
        self.stop_training = progress['stop_training'] and bool(self._early_stopping())
        for hook, state in zip(self._early_stopping(), progress['early_stopping'], strict=False):
            hook.wait_count, hook.best_score = state
        if progress['samples'] != self._samples() or progress['per_pass'] != len(self.dataloader):
            self._adapt(progress)

    def _guess(self) -> None:
        raise NotImplementedError

    def _adapt(self, progress: dict[str, Any]) -> None:
        raise NotImplementedError

    def _not_exact(self, progress: dict[str, Any]) -> None:
        self.runner.logger.warning(
            f'the checkpoint is of a run with {progress["samples"]} samples per iteration and '
            f'{progress["per_pass"]} iterations per pass over the data, now {self._samples()} and '
            f'{len(self.dataloader)}: the run goes on from the same share of the data, but it is '
            'not the run that would have been without a stop. Learning rate (see '
            '--auto-scale-lr), averages of weights and schedules in iterations are for the old '
            'numbers'
        )

    def _samples(self) -> int:
        """Return how many samples are in a batch of all processes."""
        size = getattr(self.dataloader.batch_sampler, 'batch_size', None) or 1
        return size * get_world_size()

    def _sampler(self) -> Any:
        batches = self.dataloader.batch_sampler
        return getattr(batches, 'sampler', batches.batch_sampler)

    def _early_stopping(self) -> list[EarlyStoppingHook]:
        return [hook for hook in self.runner.hooks if isinstance(hook, EarlyStoppingHook)]

    def _rest_of_pass(self) -> Iterator[tuple[int, Any]]:
        """Yield the batches that are left of a pass over the data, and their numbers."""
        done, batches = self._iter - self._begin, self.dataloader.batch_sampler
        batches.start(self.runner.seed, self.pass_number, done)
        self.loading = iter(self.dataloader)
        yield from enumerate(self.loading, done)
        if not batches.count:
            _refuse_without_batch(self.dataloader)

    def run_iter(self, *args: Any) -> None:
        """Make one iteration, with random numbers of its own.

        Raises:
            InputError: if the memory is too small for the batch.
        """
        seed_iteration(self.runner.seed, self._iter, get_rank())
        self._is_validated = False
        with naming_memory(args):
            super().run_iter(*args)

    def _validate_if_due(self) -> None:
        if self.runner.val_loop is None or self._is_validated or not self._is_due():
            return
        self._is_validated = True  # as a checkpoint at the end of the validation has to say
        # Without SyncBN each process has statistics of its own. A checkpoint has the first's.
        for buffer in unwrapped(self.runner.model).buffers():
            broadcast(buffer)
        try:
            self.runner.val_loop.run()
        except Interrupted:
            for hook in self.runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(self.runner)  # puts the weights of the training back
            self._is_validated = False
            self.runner.call_hook('save_interrupted')
            raise

    def _is_due(self) -> bool:
        raise NotImplementedError


@LOOPS.register_module()
class EpochBasedTrainLoop(ResumableLoop, MMEngineEpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop, for as many epochs as the data need, from any iteration on.

    Args:
        runner: the runner.
        dataloader: the training data.
        epochs: epochs of a run on much data.
        min_iters: iterations at least, for which little data have more epochs. Defaults to 0.
        max_epochs: epochs, instead of what follows from the data.
        val_interval: epochs from validation to validation. Defaults to 1, or to a tenth of the run
            if its length follows from the data.
        kwargs: the other arguments of mmengine's loop.

    Example:
        >>> train_cfg = dict(type='edgenext_mm.EpochBasedTrainLoop', epochs=50, min_iters=1000)
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        epochs: int = 0,
        min_iters: int = 0,
        max_epochs: int | None = None,
        val_interval: int | None = None,
        **kwargs: Any,
    ) -> None:
        loader = _built(runner, dataloader, by_epoch=True)
        by_data = bool(epochs or min_iters)
        if max_epochs is None:
            if not by_data:
                raise InputError('train_cfg says no length: set max_epochs, or epochs')
            max_epochs = max(epochs, math.ceil(min_iters / max(1, len(loader))))
        _check_length(loader, max_epochs=max_epochs)
        val_interval = val_interval or (max(1, max_epochs // VALIDATIONS) if by_data else 1)
        super().__init__(runner, loader, max_epochs, val_interval=val_interval, **kwargs)

    @_shared_with_workers()
    def run(self) -> Any:
        """Train, from where the checkpoint was if the run is resumed."""
        self.runner.call_hook('before_train')
        self._decide_current_val_interval()
        self._validate_if_due()  # what a run that was stopped had left to do
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Make the iterations that are left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, batch in self._rest_of_pass():
            self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._begin = self._iter

    def _is_due(self) -> bool:
        is_due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        return self._iter == self._begin and self._epoch >= max(self.val_begin, 1) and is_due

    def _guess(self) -> None:
        self._begin = self._epoch * len(self.dataloader)
        if not 0 <= self._iter - self._begin <= len(self.dataloader):
            self._begin = self._iter

    def _adapt(self, progress: dict[str, Any]) -> None:
        self._not_exact(progress)
        self._begin = self._epoch * len(self.dataloader)
        share = progress['done'] / max(1, progress['per_pass'])
        self._iter = self._begin + min(len(self.dataloader), int(share * len(self.dataloader)))


@LOOPS.register_module()
class IterBasedTrainLoop(ResumableLoop, MMEngineIterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop, for as many iterations as the data need, from any one on.

    Args:
        runner: the runner.
        dataloader: the training data.
        epochs: how often a run on much data sees each image.
        min_iters: iterations at least, in which it sees little data more often. Defaults to 0.
        max_iters: iterations, instead of what follows from the data.
        val_interval: iterations from validation to validation. Defaults to 1,000, or to a tenth of
            the run if its length follows from the data.
        kwargs: the other arguments of mmengine's loop.

    Example:
        >>> train_cfg = dict(type='edgenext_mm.IterBasedTrainLoop', epochs=50, min_iters=1000)
    """

    _pass_number = 0

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        epochs: int = 0,
        min_iters: int = 0,
        max_iters: int | None = None,
        val_interval: int | None = None,
        **kwargs: Any,
    ) -> None:
        loader = _built(runner, dataloader)
        by_data = bool(epochs or min_iters)
        if max_iters is None:
            if not by_data:
                raise InputError('train_cfg says no length: set max_iters, or epochs')
            images = epochs * len(loader.dataset)
            max_iters = max(min_iters, math.ceil(images / loader.batch_size / get_world_size()))
        _check_length(loader, max_iters=max_iters)
        val_interval = val_interval or (max(1, max_iters // VALIDATIONS) if by_data else 1000)
        # mmengine 0.10.7 would start to load the data, from the beginning of the run.
        stand_in: Any = _NotYet(loader.dataset)
        super().__init__(runner, stand_in, max_iters, val_interval=val_interval, **kwargs)
        self.dataloader = loader
        self.dataloader_iterator: Any = None

    @property
    def pass_number(self) -> int:
        """The pass over the data."""
        return self._pass_number

    @pass_number.setter
    def pass_number(self, value: int) -> None:
        self._pass_number = value

    @_shared_with_workers()
    def run(self) -> Any:
        """Train, from where the checkpoint was if the run is resumed."""
        self.runner.call_hook('before_train')
        # mmengine treats the whole run as one epoch.
        self.runner.call_hook('before_train_epoch')
        self._decide_current_val_interval()
        self._validate_if_due()  # what a run that was stopped had left to do
        # Closed with the loop, and its workers with it.
        with closing(self._batches()) as self.dataloader_iterator:
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self.run_iter(next(self.dataloader_iterator))
                self._decide_current_val_interval()
                self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _batches(self) -> Generator[Any, None, None]:
        while True:
            for _, batch in self._rest_of_pass():
                yield batch
            self.pass_number += 1
            # Which is the iteration now, unless there were more passes before than was known.
            self._begin += self.dataloader.batch_sampler.count

    def _is_due(self) -> bool:
        is_due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self._iter >= max(self.val_begin, 1) and is_due

    def _guess(self) -> None:
        self._begin = 0  # and from there as many passes as it takes

    def _adapt(self, progress: dict[str, Any]) -> None:
        self._not_exact(progress)
        self._begin = self._iter - progress['done'] * progress['samples'] // self._samples()


class _NotYet:
    """Takes the place of a loader that is not to be iterated."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        return iter(())
