"""When checkpoints are saved, and which one a run resumes from."""

import os.path as osp
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape, glob
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ..checkpoint.files import find_damage
from ..errors import InputError, Interrupted
from ..fileio import PARTIAL, AtomicLocalBackend
from ..registry import HOOKS
from .hooks import unwrapped
from .loops import ResumableLoop
from .signals import StopRequest

#: Names of the checkpoints between the regular ones.
INTERIM = 'interim_iter_{}.pth'
_LAST = 'last_checkpoint'


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's CheckpointHook for runs that may end at any moment, and go on from there.

    - A checkpoint appears when it is whole and on the disk, and only then goes the one that it
      replaces. ``last_checkpoint`` likewise.
    - It says where in the data the run was, and holds gradients that have been accumulated.
    - After a SIGTERM or SIGINT the run makes the step of the optimizer that it is at, saves, and
      ends with exit status 75 (:class:`~edgenext_mm.errors.Interrupted`). A second signal ends it
      at once.

    Checkpoints after a signal, or after ``minutes``, are named interim_iter_NUMBER.pth. The last
    two of them stay until the run is over.

    Args:
        minutes: to save at the latest so long after the checkpoint before, in the middle of an
            epoch as well. Defaults to None, which means at the regular ends alone.
        kwargs: the arguments of mmengine's hook.

    Raises:
        InputError: if a checkpoint cannot be written, as on a full disk.
        Interrupted: after a signal.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='edgenext_mm.CheckpointHook', minutes=30))
    """

    # After all hooks that change what is saved.
    priority = 'LOWEST'
    backend_args: dict | None
    file_backend: Any
    keep_ckpt_ids: deque

    def __init__(self, *args: Any, minutes: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if minutes is not None and minutes <= 0:
            raise InputError(
                f'minutes of CheckpointHook is {minutes}: set a positive number, or None for '
                'regular checkpoints alone'
            )
        self.minutes = minutes
        self.request = StopRequest()
        self.saved: str | None = None
        self.saved_iter: int | None = None
        folder = str(self.out_dir or '')
        if self.backend_args is None and self.file_client_args is None and '://' not in folder:
            self.backend_args = dict(backend='atomic_local')

    def before_train(self, runner: Runner) -> None:
        """Clear up after a run that was killed, and listen to signals if the Runner is ours."""
        super().before_train(runner)
        if is_main_process() and isinstance(self.file_backend, LocalBackend):
            for path in glob(osp.join(escape(self.out_dir), f'*{PARTIAL}')):
                Path(path).unlink(missing_ok=True)
        last = runner.message_hub.runtime_info.get('last_ckpt')
        if runner.iter and last and self.file_backend.exists(last):
            self.last_ckpt = last
        self.saved_at = time.monotonic()
        # mmengine's own Runner does not tell the end of a run that fails: the handlers would stay.
        if request := getattr(runner, 'stop_request', None):
            self.request = request
            request.listen()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Save if it is time, or if the run is asked to stop.

        Raises:
            InputError: if the checkpoint cannot be written.
            Interrupted: if the run was asked to stop.
        """
        super().after_train_iter(runner, batch_idx, data_batch, outputs or {})
        if not _is_at_step(runner):
            return
        stops, is_time = self._agreed()
        if stops or is_time:
            self._save_interim(runner, dict(epoch=runner.epoch, iter=runner.iter + 1))
        if stops:
            self._stop(runner)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Leave a validation if the run is asked to stop: it comes again when the run goes on."""
        if self.request.name and get_world_size() == 1:
            raise Interrupted

    def save_interrupted(self, runner: Runner) -> None:
        """Save what the training was at before a validation that was left."""
        self._save_interim(runner, dict(epoch=runner.epoch, iter=runner.iter))
        self._log_stop(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note the metrics: other hooks, such as EarlyStoppingHook, have yet to see them."""
        self.metrics = metrics or {}

    def after_val(self, runner: Runner) -> None:
        """Save what validates best.

        Raises:
            InputError: if the validation lacks the metric.
        """
        if hasattr(self, 'file_backend'):  # in a training run
            for key in getattr(self, 'key_indicators', ()):  # set with save_best
                if self.metrics and key not in ('auto', *self.metrics):
                    raise InputError(
                        f'save_best of CheckpointHook is {key!r}, which no metric of the '
                        f'validation is called: set one of {", ".join(self.metrics)}'
                    )
            with self._removing_late(), self._writing():
                super().after_val_epoch(runner, self.metrics)

    def after_train(self, runner: Runner) -> None:
        """Take the interim checkpoints away, and publish."""
        if is_main_process():
            for path in self._interims():
                if path != self.saved:
                    self.file_backend.remove(path)
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the place in the run, and the gradients since the last step of the optimizer."""
        if isinstance(loop := runner.train_loop, ResumableLoop):
            checkpoint['progress'] = loop.progress(checkpoint['meta'])
        if 'optimizer' in checkpoint and not _is_at_step(runner):
            if get_world_size() > 1:
                runner.logger.warning(
                    'a checkpoint between two steps of the optimizer, with gradients of one '
                    'process alone: resuming from it is not exact. Make the interval a multiple '
                    'of accumulative_counts'
                )
            checkpoint['gradients'] = {
                name: parameter.grad.cpu()
                for name, parameter in unwrapped(runner.model).named_parameters()
                if parameter.grad is not None
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the gradients back."""
        gradients = checkpoint.get('gradients', {}) if runner._resume else {}
        for name, parameter in unwrapped(runner.model).named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter.device, copy=True)

    def candidates(self, runner: Runner) -> list[str]:
        """Return the files to resume from: the last checkpoint, and then the ones before.

        Args:
            runner: the runner of the training.
        """
        folder = self._folder(runner)
        names = '|'.join(
            re.escape(name).replace(r'\{\}', r'(\d+)') for name in (self.filename_tmpl, INTERIM)
        )
        found = [path for path in Path(folder).glob('*.pth') if re.fullmatch(names, path.name)]
        found.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        pointer = Path(runner.work_dir, _LAST)
        if pointer.is_file():
            text = pointer.read_text(errors='replace').strip()
            if '://' in text:  # not in this file system
                return [text]
            last = Path(text)
            # A folder may have been moved with all that is in it.
            last = last if last.is_file() else Path(folder, last.name)
            found = [path for path in (last, *found) if path.is_file()]
        return [*dict.fromkeys(map(str, found))]

    def _folder(self, runner: Runner) -> str:
        if self.out_dir in (None, runner.work_dir):
            return runner.work_dir
        return osp.join(str(self.out_dir), osp.basename(runner.work_dir.rstrip(osp.sep)))

    def _agreed(self) -> tuple[bool, bool]:
        """Return whether the run is to stop, and to save, of which all processes say the same."""
        late = self.minutes is not None and time.monotonic() - self.saved_at >= 60 * self.minutes
        stops = self.request.name is not None
        if get_world_size() > 1:
            facts = torch.tensor([stops, late and is_main_process()], dtype=torch.float)
            all_reduce(facts, 'max')
            stops, late = map(bool, facts.tolist())
        return stops, late

    def _stop(self, runner: Runner) -> None:
        barrier()  # launchers end the other processes once one has ended, and the first has saved
        self._log_stop(runner)
        raise Interrupted

    def _log_stop(self, runner: Runner) -> None:
        runner.logger.warning(
            f'stopped by {self.request.name or "a signal to another process"}, with a checkpoint: '
            f'--resume goes on from there (exit status {Interrupted.STATUS})'
        )

    def _save_interim(self, runner: Runner, meta: dict[str, int]) -> None:
        if self.saved_iter == meta['iter']:
            return
        name = INTERIM.format(meta['iter'])
        runner.logger.info(f'Saving checkpoint at {meta["iter"]} iterations')
        self._save(runner, name, meta)
        if is_main_process():
            for path in self._interims()[:-2]:
                self.file_backend.remove(path)

    def _interims(self) -> list[str]:
        """Return the interim checkpoints, the oldest first."""
        if not isinstance(self.file_backend, LocalBackend):
            return []
        paths = glob(osp.join(escape(self.out_dir), INTERIM.format('*')))
        return sorted(paths, key=lambda path: int(re.sub(r'\D', '', osp.basename(path)) or 0))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save a checkpoint, and only then remove those that are too many."""
        kept = []
        if self.max_keep_ckpts > 0:
            kept = [number for number in self.keep_ckpt_ids if number != step] + [step]
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._save(runner, name, meta)
        if self.max_keep_ckpts > 0:
            for number in kept[: -self.max_keep_ckpts]:
                self._remove(
                    self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(number))
                )
            self.keep_ckpt_ids = deque(kept[-self.max_keep_ckpts :], self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', [*self.keep_ckpt_ids])

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        with self._writing():
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                path = self.file_backend.join_path(self.out_dir, name)
                AtomicLocalBackend().put_text(path, osp.join(runner.work_dir, _LAST))
                self.saved = path
        self.saved_iter, self.saved_at = meta['iter'], time.monotonic()

    def _remove(self, path: str) -> None:
        if is_main_process():
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # as DeepSpeed writes them
                self.file_backend.rmtree(path)

    @contextmanager
    def _removing_late(self) -> Iterator[None]:
        """Remove what mmengine removes before it saves only when that is saved."""
        backend = self.file_backend
        late = _LateRemovals(backend)
        self.file_backend = late
        try:
            yield
        finally:
            self.file_backend = backend
        best = [getattr(self, 'best_ckpt_path', None)]
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        for path in late.removed:
            if path not in best:
                self._remove(path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f'cannot write a checkpoint into {self.out_dir} ({error}); those before are as '
                'they were. Make room there, and go on with --resume'
            ) from error


class _LateRemovals:
    """A storage backend that only notes what is to be removed."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['backend'], name)

    def remove(self, path: str) -> None:
        self.removed.append(path)

    rmtree = remove


def newest_whole(paths: list[str]) -> tuple[str | None, list[str]]:
    """Return the first of some checkpoints that is whole, and what is wrong with those before it.

    Args:
        paths: local files, the preferred one first.
    """
    faults: list[str] = []
    for path in paths:
        damage = None if '://' in path else find_damage(path)
        if damage is None:
            return path, faults
        faults.append(f'{path} is damaged ({damage})')
    return None, faults


def _is_at_step(runner: Runner) -> bool:
    """Tell whether no gradients are waiting for a step of the optimizer."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return all(wrapper.should_update() for wrapper in wrappers)
