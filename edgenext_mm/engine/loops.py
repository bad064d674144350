"""Training loops whose length follows the data."""

import math
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterBasedTrainLoop
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..registry import LOOPS

#: Validations of a run.
VALIDATIONS = 10


def _built(runner: Runner, dataloader: DataLoader | dict) -> Any:
    diff_rank_seed = (runner.cfg.get('randomness') or {}).get('diff_rank_seed', False)
    return runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=diff_rank_seed)


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEngineEpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop, for as many epochs as the data need.

    Args:
        runner: the runner.
        dataloader: the training data.
        epochs: epochs of a run on much data.
        min_iters: iterations at least, for which little data have more epochs.
        max_epochs: epochs, instead of what follows from the data.
        val_interval: epochs from validation to validation. Defaults to a tenth of the run.
        kwargs: the other arguments of mmengine's loop.

    Example:
        >>> train_cfg = dict(type='edgenext_mm.EpochBasedTrainLoop', epochs=50, min_iters=1000)
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        epochs: int,
        min_iters: int,
        max_epochs: int | None = None,
        val_interval: int | None = None,
        **kwargs: Any,
    ) -> None:
        loader: Any = _built(runner, dataloader)
        if max_epochs is None:
            max_epochs = max(epochs, math.ceil(min_iters / max(1, len(loader))))
        val_interval = val_interval or max(1, max_epochs // VALIDATIONS)
        super().__init__(runner, loader, max_epochs, val_interval=val_interval, **kwargs)


@LOOPS.register_module()
class IterBasedTrainLoop(MMEngineIterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop, for as many iterations as the data need.

    Args:
        runner: the runner.
        dataloader: the training data.
        epochs: how often a run on much data sees each image.
        min_iters: iterations at least, in which it sees little data more often.
        max_iters: iterations, instead of what follows from the data.
        val_interval: iterations from validation to validation. Defaults to a tenth of the run.
        kwargs: the other arguments of mmengine's loop.

    Example:
        >>> train_cfg = dict(type='edgenext_mm.IterBasedTrainLoop', epochs=50, min_iters=1000)
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        epochs: int,
        min_iters: int,
        max_iters: int | None = None,
        val_interval: int | None = None,
        **kwargs: Any,
    ) -> None:
        loader: Any = _built(runner, dataloader)
        if max_iters is None:
            images = epochs * len(loader.dataset)
            max_iters = max(min_iters, math.ceil(images / loader.batch_size / get_world_size()))
        val_interval = val_interval or max(1, max_iters // VALIDATIONS)
        super().__init__(runner, loader, max_iters, val_interval=val_interval, **kwargs)
