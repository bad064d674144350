"""What the datasets of boxes have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.metrics import CocoMetric as MMDetCocoMetric

from ..checks import CheckedDataset, check_size
from ..faults import refuse
from .coco_metric import CocoMetric, check_ground_truth


class CheckedDetDataset(CheckedDataset):
    """A dataset of boxes that reports what it leaves out; the base of those for JSON and XML."""

    def filter_data(self) -> list[dict]:
        """Filter the images as mmdet does, and check that there is something to learn."""
        listed = list(self.data_list)
        kept = super().filter_data()
        chosen = {id(info) for info in kept}
        for info in listed:
            empty = all(instance['ignore_flag'] for instance in info['instances'])
            if id(info) not in chosen:
                size = f'{info["height"]}x{info["width"]} pixels'
                kind = 'images without an object' if empty else 'images below filter_cfg.min_size'
                self.report.left_out(kind, info['img_path'], message='' if empty else size)
            elif empty:
                self.report.used('images without an object', info['img_path'], message='background')
        labels = [
            instance['bbox_label']
            for info in kept
            for instance in info['instances']
            if not instance['ignore_flag']
        ]
        self.check_classes(np.bincount(labels, minlength=len(self.metainfo['classes'])), 'box')
        if not kept:
            refuse(f'{self.ann_file} has no image that is used: {self.report.summary()}')
        return kept

    def check_sample(self, info: dict, shape: tuple[int, int]) -> None:
        """Compare the size of an image with that of its annotation."""
        check_size(info['img_path'], shape, (info['height'], info['width']), self.listed_in)

    def ground_truth(self) -> COCO:
        """Return the annotations for an evaluation."""
        raise NotImplementedError

    def prepare_metric(self, metric: Any, datasets: Sequence[Any]) -> None:
        """Let a CocoMetric follow the datasets, or check that its file is theirs."""
        if isinstance(metric, CocoMetric):
            metric.follow(datasets)
        elif isinstance(metric, MMDetCocoMetric):
            # mmdet's own has no other name for the content of its ann_file.
            check_ground_truth(metric, getattr(metric, '_coco_api', None), datasets)
