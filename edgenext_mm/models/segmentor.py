"""A segmentor that predicts images of several sizes in one batch."""

from collections.abc import Callable
from typing import Any

from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder

from ..registry import MODELS


@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """mmseg's EncoderDecoder, which takes batches of images of several sizes to predict.

    Images of one size go through the network together. So a prediction does not depend on the other
    images of its batch, as it would if all were padded to one size: the network looks at the whole
    image. Arguments, parameters and their names are mmseg's.

    Example:
        >>> import torch
        >>> from mmengine.config import ConfigDict
        >>> from mmengine.registry import DefaultScope
        >>> with DefaultScope.overwrite_default_scope('mmseg'):
        ...     segmentor = EncoderDecoder(
        ...         data_preprocessor=dict(type='SegDataPreProcessor'),
        ...         backbone=dict(type='edgenext_mm.EdgeNeXt', arch='xx_small', out_indices=(0,)),
        ...         decode_head=dict(
        ...             type='FCNHead', in_channels=24, channels=8, in_index=0, num_classes=2
        ...         ),
        ...         test_cfg=ConfigDict(mode='whole'),
        ...     ).eval()
        >>> images = [torch.zeros(3, 32, 64), torch.zeros(3, 64, 48)]
        >>> samples = segmentor.test_step(dict(inputs=images, data_samples=None))
        >>> [tuple(sample.pred_sem_seg.shape) for sample in samples]
        [(32, 64), (64, 48)]
    """

    def val_step(self, data: dict) -> list:
        """Predict a batch of a DataLoader, in the order of its images."""
        return _size_by_size(super().val_step, data)

    def test_step(self, data: dict) -> list:
        """Predict a batch of a DataLoader, in the order of its images."""
        return _size_by_size(super().test_step, data)


def _size_by_size(step: Callable[[dict], list], data: dict[str, Any]) -> list:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(data['inputs']):
        groups.setdefault(tuple(image.shape), []).append(index)
    if len(groups) == 1:
        return step(data)
    predictions: dict[int, Any] = {}
    for indices in groups.values():
        part = {
            key: None if values is None else [values[index] for index in indices]
            for key, values in data.items()
        }
        predictions.update(zip(indices, step(part), strict=True))
    return [predictions[index] for index in range(len(predictions))]
