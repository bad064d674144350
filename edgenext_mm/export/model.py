"""An exported file in the place of a config's model, to be judged by its test set."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from ..errors import InputError
from ..registry import MODELS
from ..runtime import Predictor
from .files import open_session

#: The task of a config, by its default scope.
TASKS = {'mmdet': 'detection', 'mmseg': 'segmentation', 'mmpretrain': 'classification'}


@MODELS.register_module()
class ExportedModel(BaseModel):
    """A file of tools/export.py as a model for the Runner's test loop.

    It predicts the files of a batch's images by :class:`~edgenext_mm.runtime.Predictor`, which
    reads, prepares and processes them as a device does. What the pipeline of the dataset made of
    the images is not looked at. There are no weights: hooks that copy, switch or average a model
    have it as it is.

    Args:
        path: the file.
        runtime: see :class:`~edgenext_mm.runtime.Predictor`.
        threads: see :class:`~edgenext_mm.runtime.Predictor`.
        precision: see :class:`~edgenext_mm.runtime.Predictor`.
        task: for which the file has to be. Defaults to its own.

    Raises:
        InputError: if the file cannot be used, or is for another task.

    Example:
        >>> ExportedModel('missing.onnx')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing.onnx does not exist: ...
    """

    def __init__(
        self,
        path: str,
        runtime: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        task: str | None = None,
    ) -> None:
        super().__init__()
        session = open_session(path, runtime, threads, precision)
        self.path, self.task = path, session.metadata.get('task')
        if self.task not in _PACK or task not in (None, self.task):
            raise InputError(
                f'{path} is for {self.task}, and the config is for '
                f'{task or " or ".join(_PACK)}: give a file that was exported with it'
            )
        self.predictor = Predictor(path, session=session)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'ExportedModel':
        """Return the model itself, which nothing changes."""
        return self

    @property
    def classes(self) -> list[str]:
        """Names of the classes; none if the file does not know them."""
        return list(self.predictor.metadata.get('classes') or ())

    def check_classes(self, classes: Sequence[str] | None) -> None:
        """Check that the classes are those of a dataset, by name and in their order.

        A warning says if the file or the dataset has no names.

        Args:
            classes: names of the dataset's, as its ``metainfo`` has them.

        Raises:
            InputError: if they are others.
        """
        if classes and self.classes:
            _check_same(self.path, self.classes, [str(name) for name in classes])
            return
        print_log(
            f'the classes of {self.path} are not checked against those of the dataset: '
            f'{"the dataset" if self.classes else "the file"} has no names of them',
            'current',
            logging.WARNING,
        )

    def test_step(self, data: dict[str, Any]) -> list[BaseDataElement]:
        """Predict a batch.

        Args:
            data: the batch, with ``data_samples``.

        Returns:
            The data samples, with predictions as the library of the task has them.

        Raises:
            InputError: if a sample does not know the file of its image, or if that cannot be read.
        """
        return [self.forward(sample) for sample in data['data_samples']]

    val_step = test_step

    def forward(self, sample: Any) -> BaseDataElement:
        """Predict the image of a data sample, see :meth:`test_step`."""
        path = sample.metainfo.get('img_path')
        if not isinstance(path, str):
            raise InputError(
                f'{self.path} is tested on files of images, and the samples of the dataset have no '
                'img_path: take a dataset of files, and leave img_path in meta_keys of the last '
                'step of its pipeline'
            )
        _PACK[self.task](sample, self.predictor(path))
        return sample


def _pack_detections(sample: Any, found: Any) -> None:
    from mmdet.models.utils import samplelist_boxtype2tensor

    samplelist_boxtype2tensor([sample])  # the annotations, as mmdet's data_preprocessor does
    sample.pred_instances = InstanceData(
        bboxes=_tensor(found.boxes, np.float32),
        scores=_tensor(found.scores, np.float32),
        labels=_tensor(found.labels, np.int64),
    )


def _pack_mask(sample: Any, found: Any) -> None:
    sample.pred_sem_seg = PixelData(data=_tensor(found.mask, np.int64)[None])


def _pack_scores(sample: Any, found: Any) -> None:
    scores = _tensor(found.scores, np.float32)
    sample.set_pred_score(scores).set_pred_label(scores.argmax(dim=0, keepdim=True))


def _tensor(values: np.ndarray, dtype: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype))


_PACK: dict[str, Callable[[Any, Any], None]] = {
    'detection': _pack_detections,
    'segmentation': _pack_mask,
    'classification': _pack_scores,
}


def put_in_place(
    cfg: Config,
    path: str,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
) -> None:
    """Put an exported file in the place of the model of a config, for a test.

    Args:
        cfg: the config, which is changed.
        path: the file.
        runtime: see :class:`ExportedModel`.
        threads: see :class:`ExportedModel`.
        precision: see :class:`ExportedModel`.

    Raises:
        InputError: if no task is known for the config.
    """
    if cfg.get('default_scope') not in TASKS:
        raise InputError(
            f'default_scope of the config is {cfg.get("default_scope")!r}, and exported files are '
            f'tested with configs of {", ".join(TASKS)}'
        )
    cfg.model = ConfigDict(
        type='edgenext_mm.ExportedModel',
        path=path,
        runtime=runtime,
        threads=threads,
        precision=precision,
        task=TASKS[cfg.default_scope],
    )
    # These are for weights.
    cfg.load_from, cfg.resume = None, False
    cfg.pop('compile', None)


def _check_same(path: str, ours: Sequence[str], theirs: Sequence[str]) -> None:
    if [*ours] == [*theirs]:
        return
    if len(ours) != len(theirs):
        difference = f'{_list(ours)} and the dataset {_list(theirs)}'
    else:
        index = [*map(str.__ne__, ours, theirs)].index(True)
        difference = (
            f'{ours[index]!r} as its class {index}, where the dataset has {theirs[index]!r}'
        )
    raise InputError(
        f'{path} has {difference}: set metainfo.classes of test_dataloader.dataset to those of the '
        'file in their order, or test it with the config that it was exported with'
    )


def _list(names: Sequence[str]) -> str:
    return f'{len(names)} classes ({", ".join(names[:3])}{", ..." * (len(names) > 3)})'
