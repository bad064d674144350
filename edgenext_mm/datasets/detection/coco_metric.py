"""COCO's metric, of what the dataset says."""

import io
import os.path as osp
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.metrics import CocoMetric as MMDetCocoMetric
from mmengine.logging import MMLogger

from ...errors import InputError
from ...registry import METRICS
from ..annotations import read_coco
from ..report import Report


@METRICS.register_module()
class CocoMetric(MMDetCocoMetric):
    """mmdet's CocoMetric, which evaluates the dataset that the predictions are made for.

    The annotations come from the dataset, by :class:`~edgenext_mm.engine.DataReportHook`, for JSON
    and for XML. So a test on another dataset needs no other evaluator. On whole files the metric is
    that of mmdet, and so the official one.

    Args:
        ann_file: another JSON file to evaluate with, whose images are those of the dataset.
            Defaults to None, the dataset's own annotations.
        kwargs: the other arguments of mmdet's CocoMetric.

    Raises:
        InputError: before the loop starts, if the images or categories of ``ann_file`` are not
            those of the dataset, or if there is no object to find.

    Example:
        >>> metric = CocoMetric(metric='bbox')
        >>> metric.default_prefix
        'coco'
    """

    def __init__(self, ann_file: str | None = None, **kwargs: Any) -> None:
        super().__init__(ann_file=None, **kwargs)
        self.ann_file = ann_file

    def follow(self, datasets: Sequence[Any]) -> None:
        """Take the annotations of datasets, or check that those of ``ann_file`` belong to them."""
        file, files = self.ann_file, [dataset.ann_file for dataset in datasets]
        if file is None or (len(files) == 1 and osp.exists(file) and osp.samefile(file, files[0])):
            api = _merged([dataset.ground_truth() for dataset in datasets], files)
        else:
            folder = datasets[0].data_prefix.get('img', '')
            api = to_api(read_coco(file, folder, Report('')))
        check_ground_truth(self, api, datasets)
        self._coco_api, self.cat_ids, self.img_ids = api, None, None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch; see mmdet's method.

        Raises:
            InputError: if there are no annotations to evaluate with.
        """
        if self._coco_api is None and self.ann_file:  # no hook has told the dataset
            self._coco_api = to_api(read_coco(self.ann_file, '', Report('')))
        if self._coco_api is None and not all('instances' in sample for sample in data_samples):
            raise InputError(
                'CocoMetric has no annotations, which a hook takes from the dataset: add '
                "default_hooks=dict(data_report=dict(type='edgenext_mm.DataReportHook')), or set "
                'ann_file of the evaluator'
            )
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate the images that were predicted; see mmdet's method."""
        if self._coco_api is not None:
            ids: Any = sorted({gt['img_id'] for gt, _ in results})
            self.img_ids = ids
            if len(ids) < len(self._coco_api.imgs):
                MMLogger.get_current_instance().warning(
                    f'{len(ids)} of {len(self._coco_api.imgs)} annotated images were '
                    'predicted, and are evaluated'
                )
        metrics = super().compute_metrics(results)
        if not self.format_only and not any(len(prediction['scores']) for _, prediction in results):
            # mmdet leaves out the metrics of no prediction.
            items = self.metric_items or ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
            for metric in set(self.metrics) & {'bbox', 'segm'}:
                metrics.update({f'{metric}_{item}': 0.0 for item in items})
        return metrics


def check_ground_truth(metric: MMDetCocoMetric, api: COCO | None, datasets: Sequence[Any]) -> None:
    """Check that annotations can evaluate datasets.

    Args:
        metric: for its setting ``format_only``, with which nothing is evaluated.
        api: the annotations, or None if they come with the predictions.
        datasets: those that are predicted, one after the other.

    Raises:
        InputError: if the images or the categories are others, or if there is no object to find.
    """
    if api is None:
        return
    remedy = 'leave out ann_file of the evaluator, which then follows the dataset, or correct it'
    classes = list(datasets[0].metainfo['classes'])
    annotated = [entry['name'] for entry in api.dataset['categories'] if entry['name'] in classes]
    if annotated != classes:
        raise InputError(
            f"the evaluator's categories are {annotated[:3]}, ..., and the classes of the dataset "
            f'{datasets[0].ann_file} are {classes[:3]}, ...: {remedy}'
        )
    files: dict[int | str, str] = {}
    for dataset in datasets:
        infos = (dataset.get_data_info(index) for index in range(len(dataset)))
        files.update((info['img_id'], info['img_path']) for info in infos)
    for key, path in files.items():
        name = api.imgs.get(key, {}).get('file_name')
        if name is None or osp.basename(name) != osp.basename(path):
            what = 'has no image' if name is None else f'has {name} as the image'
            raise InputError(
                f"the evaluator's file {what} {key!r}, which is {path} in the dataset "
                f'{datasets[0].ann_file}: {remedy}'
            )
    if not isinstance(metric, CocoMetric) and len(api.imgs) > len(files):
        raise InputError(
            f"the evaluator's file has {len(api.imgs)} images and the dataset "
            f'{datasets[0].ann_file} {len(files)}, which would count all objects of the others as '
            f'not found: {remedy}'
        )
    chosen = {entry['id'] for entry in api.dataset['categories'] if entry['name'] in classes}
    found = any(
        item['category_id'] in chosen and item['image_id'] in files and not item.get('iscrowd')
        for item in api.dataset['annotations']
    )
    if not (found or metric.format_only or datasets[0].allow_missing_classes):
        raise InputError(
            f'{datasets[0].ann_file} has no object to find, so that nothing can be evaluated '
            f'({datasets[0].report.summary() or "it has no annotations"}): correct the '
            'annotations, or set allow_missing_classes=True of the dataset'
        )


def _merged(apis: list[COCO], files: list[str]) -> COCO:
    """Return the annotations of datasets that are evaluated as one."""
    if len(apis) == 1:
        return apis[0]
    images = [image for api in apis for image in api.dataset['images']]
    categories = [[c['name'] for c in api.dataset['categories']] for api in apis]
    if len({image['id'] for image in images}) < len(images) or categories.count(
        categories[0]
    ) < len(categories):
        raise InputError(
            f'{" and ".join(files)} have the same image ids or other categories, and cannot be '
            'evaluated as one: give them an evaluator each (mmdet.MultiDatasetsEvaluator)'
        )
    annotations = [dict(a) for api in apis for a in api.dataset['annotations']]
    for key, annotation in enumerate(annotations, 1):
        annotation['id'] = key
    return to_api(dict(apis[0].dataset, images=images, annotations=annotations))


def to_api(content: dict[str, Any]) -> COCO:
    """Return mmdet's API of the content of a file of COCO's annotations."""
    coco = COCO()
    coco.dataset = content
    with redirect_stdout(io.StringIO()):  # it says what it does
        coco.createIndex()
    coco.img_ann_map, coco.cat_img_map = coco.imgToAnns, coco.catToImgs
    return coco
