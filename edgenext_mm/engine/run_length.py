"""Whether a recipe suits the length of a run."""

from itertools import chain

from mmengine.hooks import EMAHook, Hook
from mmengine.model import ExponentialMovingAverage, MomentumAnnealingEMA
from mmengine.optim.scheduler import LinearParamScheduler
from mmengine.runner import Runner

from ..registry import HOOKS


@HOOKS.register_module()
class RunLengthCheckHook(Hook):
    """Warns, before training, if the recipe is for longer runs than this one.

    That is a warm-up of more than half of the run, and an average of the weights that would still
    hold 1% of those at the start. The average is what is validated and saved.

    Example:
        >>> default_hooks = dict(run_length=dict(type='edgenext_mm.RunLengthCheckHook'))
    """

    def before_train(self, runner: Runner) -> None:
        """Check the averages and the schedules."""
        iterations = runner.max_iters
        for hook in runner.hooks:
            average = hook.ema_model if isinstance(hook, EMAHook) else None
            if isinstance(average, ExponentialMovingAverage) and not isinstance(
                average, MomentumAnnealingEMA
            ):
                rest = (1 - average.momentum) ** (iterations / average.interval)
                if rest > 0.01:
                    runner.logger.warning(
                        f'EMAHook with momentum={average.momentum} leaves {rest:.0%} of the '
                        f'weights at the start in the average after the {iterations} iterations '
                        "of this run: set ema_type='MomentumAnnealingEMA', gamma=10 and "
                        'update_buffers=True of the hook'
                    )
        schedules = runner.param_schedulers or []
        if isinstance(schedules, dict):  # of several optimizers
            schedules = list(chain.from_iterable(schedules.values()))
        for schedule in schedules:
            if isinstance(schedule, LinearParamScheduler) and schedule.start_factor < 1:
                end = schedule.end * (len(runner.train_dataloader) if schedule.by_epoch else 1)
                if end > max(2, iterations / 2):
                    runner.logger.warning(
                        f'the warm-up of {schedule.param_name} ends after {end} iterations, and '
                        f"this run has {iterations}: set type='edgenext_mm.WarmupLR' without end"
                    )
