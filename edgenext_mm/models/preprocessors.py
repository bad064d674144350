"""The base of data preprocessors for images of any number of channels."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from ..errors import InputError


# Not an ImgDataPreprocessor: mmseg's is one in its continuation, and not in OpenMMLab's release.
class AnyChannels(BaseDataPreprocessor):
    """The base of a preprocessor before mm's, with a mean for each channel; mm's have 1 or 3.

    See :class:`~edgenext_mm.models.DetDataPreprocessor`.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        **kwargs: Any,
    ) -> None:
        means, stds = list(mean or ()), list(std or ())
        if len(means) != len(stds) or not all(value > 0 for value in stds):
            raise InputError(
                'mean and std of the data_preprocessor have one value for each channel of the '
                f'images, or one for all, and std is above 0; got mean={mean} and std={std}'
            )
        kwargs.update(bgr_to_rgb=bgr_to_rgb, rgb_to_bgr=rgb_to_bgr)
        super().__init__(mean=means[:1] or None, std=stds[:1] or None, **kwargs)
        if means:
            self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (means, stds))
        self._channels = {len(means)} if len(means) > 1 else set()
        if bgr_to_rgb or rgb_to_bgr:
            self._channels.add(3)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make a batch as mm's preprocessor does; see there for the keys."""
        samples = data.get('data_samples') or [None] * len(data['inputs'])
        for image, sample in zip(data['inputs'], samples, strict=True):
            if self._channels - {len(image)}:
                path = sample is not None and sample.metainfo.get('img_path')
                raise InputError(
                    f'{path or "an image"} has {len(image)} channels, and the data_preprocessor '
                    f'is for {" and ".join(map(str, sorted(self._channels)))}: set color_type of '
                    'LoadImageFromFile, or mean, std, bgr_to_rgb and rgb_to_bgr as the images are'
                )
        return super().forward(data, training)
