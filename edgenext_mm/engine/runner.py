"""The Runner."""

import copy

from mmengine.runner import Runner as MMEngineRunner
from torch.utils.data import DataLoader

from ..registry import RUNNERS

#: Settings of a DataLoader that PyTorch allows with workers alone.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context')


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's Runner, for which ``num_workers=0`` of a dataloader is enough.

    What is set for the workers then has no effect, where PyTorch's DataLoader refuses it.
    ``runner_type`` of the configs names this class for the tools of other libraries.

    Example:
        >>> from edgenext_mm.registry import RUNNERS
        >>> RUNNERS.get('edgenext_mm.Runner').__name__
        'Runner'
    """

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a dataloader as mmengine does.

        Args:
            dataloader: a dataloader, which is returned, or the config of one.
            seed: of the sampler and of the workers. Defaults to None.
            diff_rank_seed: whether the samplers of processes differ. Defaults to False.
        """
        if isinstance(dataloader, dict) and not dataloader.get('num_workers', 0):
            dataloader = copy.copy(dataloader)
            for name in _OF_WORKERS:
                dataloader.pop(name, None)
        return MMEngineRunner.build_dataloader(dataloader, seed, diff_rank_seed)
