"""Where a model is wrong: which classes, sizes, images, and in what way."""

from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

from ..errors import InputError
from .error_report import ErrorReport


def find_errors(runner: Runner, score_thr: float = 0.3) -> ErrorReport:
    """Test a model as its config says, and return its errors in the place of the metrics.

    Args:
        runner: of a config for mmdet, mmseg or mmpretrain, with the model to test.
        score_thr: of a detector, see :class:`~.object_errors.ObjectErrors`.

    Raises:
        InputError: if the config is for another library; see also the report of each task.
    """
    theirs = runner.test_evaluator.metrics
    metric = _metric(str(runner.cfg.get('default_scope')), theirs, score_thr)
    metric.dataset_meta = runner.test_dataloader.dataset.metainfo
    runner.test_evaluator.metrics = [metric]
    runner.test()
    return metric.report


def _metric(scope: str, theirs: list[BaseMetric], score_thr: float) -> Any:
    """Return what makes the report, of the same annotations as the metrics of the config."""
    if scope == 'mmdet':
        from .object_errors import ObjectErrors

        files = [metric.ann_file for metric in theirs if getattr(metric, 'ann_file', None)]
        objects = ObjectErrors(score_thr, ann_file=files[0] if files else None)
        for metric in theirs:  # mmdet's own has read its file
            objects._coco_api = objects._coco_api or getattr(metric, '_coco_api', None)
        return objects
    from .label_errors import ImageErrors, PixelErrors

    if scope == 'mmseg':
        return PixelErrors(getattr(theirs[0], 'ignore_index', 255))
    if scope == 'mmpretrain':
        return ImageErrors()
    raise InputError(
        f'default_scope of the config is {scope}: errors are sorted for mmdet, mmseg, mmpretrain'
    )
