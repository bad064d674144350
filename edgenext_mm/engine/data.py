"""What a run says of its data, and what the data tell the evaluators."""

import os.path as osp
from copy import deepcopy
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ..datasets.checks import CheckedDataset, leaves
from ..errors import InputError
from ..fileio import AtomicLocalBackend
from ..models.edgenext import MIN_SIZE, EdgeNeXt
from ..registry import HOOKS
from .hooks import unwrapped


@HOOKS.register_module()
class DataReportHook(Hook):
    """Lists what datasets leave out, and tells evaluators what they evaluate.

    Before training, validation or a test, ``data_report_{train,val,test}.txt`` in the work
    directory gets a line for each object, image or file that is left out, or used in its one
    obvious meaning; the datasets themselves log how many there are. A CocoMetric of edgenext_mm
    gets the annotations of the datasets, and one of mmdet with a file of its own is compared with
    them. Datasets of other libraries are left alone.

    Raises:
        InputError: if an evaluator is for other data than its dataloader.

    Example:
        >>> default_hooks = dict(data_report=dict(type='edgenext_mm.DataReportHook'))
    """

    def __init__(self) -> None:
        self.prepared: dict[str, Any] = {}  # the evaluator of each split

    def before_train(self, runner: Runner) -> None:
        """Report on the data for training and validation."""
        self._report(runner, 'train', _checked(runner.train_dataloader.dataset))
        if runner.val_loop is not None:
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        """Report on the data for validation, and prepare the evaluator."""
        self._prepare(runner, 'val', runner.val_loop)

    def before_test(self, runner: Runner) -> None:
        """Report on the data for tests, and prepare the evaluator."""
        self._prepare(runner, 'test', runner.test_loop)

    def _prepare(self, runner: Runner, split: str, loop: Any) -> None:
        evaluator = getattr(loop, 'evaluator', None)
        if split in self.prepared and self.prepared[split] is evaluator:
            return
        self.prepared[split] = evaluator
        datasets = _checked(loop.dataloader.dataset)
        self._report(runner, split, datasets)
        metrics = getattr(evaluator, 'metrics', [])
        # mmdet's MultiDatasetsEvaluator has a metric for each of the datasets.
        multiple = hasattr(evaluator, 'dataset_prefixes') and len(metrics) == len(datasets)
        for index, metric in enumerate(metrics if datasets else ()):
            chosen = [datasets[index]] if multiple else datasets
            chosen[0].prepare_metric(metric, chosen)

    def _report(self, runner: Runner, split: str, datasets: list[CheckedDataset]) -> None:
        if not datasets or not is_main_process():
            return
        path = osp.join(runner.work_dir, f'data_report_{split}.txt')
        lines = [line for dataset in datasets for line in dataset.report.lines()]
        # Also if nothing is left out, in the place of what a run before may have written.
        AtomicLocalBackend().put_text('\n'.join([*lines, '']), path)
        if lines:
            runner.logger.info(f'what is left out of the {split} data is listed in {path}')


@HOOKS.register_module()
class SmallImageHook(Hook):
    """Names the images that are too small for EdgeNeXt when they reach it.

    Raises:
        InputError: if a batch, as the model's data preprocessor pads it, has a side below 32.

    Example:
        >>> default_hooks = dict(small_image=dict(type='edgenext_mm.SmallImageHook'))
    """

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        inputs = data_batch.get('inputs', ()) if isinstance(data_batch, dict) else ()
        small = [
            index
            for index, image in enumerate(inputs)
            if isinstance(image, Tensor) and min(image.shape[-2:]) < MIN_SIZE
        ]
        model = unwrapped(runner.model)
        if not small or not any(isinstance(module, EdgeNeXt) for module in model.modules()):
            return
        preprocessor: Any = model.data_preprocessor
        batch = preprocessor(deepcopy(data_batch), mode == 'train')
        height, width = batch['inputs'].shape[-2:]
        if min(height, width) < MIN_SIZE:
            sample = data_batch['data_samples'][small[0]]
            raise InputError(
                f'{sample.get("img_path")} reaches the network with {height}x{width} pixels '
                f'(height x width), which needs a side of at least {MIN_SIZE}: resize or pad '
                'images in the pipeline, or take it out of the data'
            )


def _checked(dataset: Any) -> list[CheckedDataset]:
    return [leaf for leaf in leaves(dataset) if isinstance(leaf, CheckedDataset)]
