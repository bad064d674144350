"""SSD's anchors for images of any size."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from mmdet.models.task_modules.prior_generators import SSDAnchorGenerator
from torch import Tensor

from ..errors import InputError
from ..registry import TASK_UTILS


@TASK_UTILS.register_module()
class SSDLiteAnchorGenerator(SSDAnchorGenerator):
    """mmdet's SSDAnchorGenerator whose anchors follow the image.

    The size of the image, with its padding, is that of the first feature map times the stride of
    that map. The cells of each map divide it evenly, so that the last ones reach its right and
    lower edge, and the sizes of anchors are shares of its side, the square root of its area.

    Args:
        stride: pixels from cell to cell of the first map.
        ratios: for each map, the ratios of the longer side of anchors to the shorter one, besides
            squares.
        sizes: sides of square anchors as shares of the side of the image: one for each map, from
            small to large, and one more. A map also has squares between its size and the next.
        use_box_type: return anchors as mmdet's HorizontalBoxes. Defaults to False.
        clip: shorten the sides of anchors that are longer than that of the image, as Apple's CVNets
            does. Defaults to False, as in mmdet.

    Raises:
        InputError: if there is not one size more than maps, or if the sizes do not grow.

    Example:
        >>> anchors = SSDLiteAnchorGenerator(stride=16, ratios=[[2], [2]], sizes=[0.1, 0.5, 1.0])
        >>> anchors.num_base_priors
        [4, 4]
        >>> for shape in ((20, 20), (24, 40)):  # of images of 320x320 and 384x640
        ...     first, last = anchors.grid_priors([shape, (1, 1)], device='cpu')
        ...     print(tuple(first.shape), (last[0, :2] + last[0, 2:]).tolist())  # twice the center
        (1600, 4) [320.0, 320.0]
        (3840, 4) [640.0, 384.0]
    """

    def __init__(
        self,
        stride: int,
        ratios: Sequence[Sequence[float]],
        sizes: Sequence[float],
        use_box_type: bool = False,
        clip: bool = False,
    ) -> None:
        if len(sizes) != len(ratios) + 1 or sorted({0, *sizes}) != [0, *sizes]:
            raise InputError(
                f'sizes of SSDLiteAnchorGenerator are {len(ratios) + 1} numbers that grow, one '
                f'more than there are lists of ratios, not {[*sizes]}'
            )
        self.stride = stride
        self.sizes = tuple(sizes)
        # Of a square of one cell of the last map: what does not depend on the image is right.
        strides = [stride * 2**level for level in range(len(ratios))]
        super().__init__(
            strides=strides,
            ratios=tuple(map(tuple, ratios)),
            min_sizes=[strides[-1] * size for size in sizes[:-1]],
            max_sizes=[strides[-1] * size for size in sizes[1:]],
            scale_major=False,
            use_box_type=use_box_type,
        )
        self._arguments = (tuple(map(tuple, ratios)), self.sizes, use_box_type, clip)

    def fitted(self, featmap_sizes: Sequence[Sequence[int]]) -> SSDAnchorGenerator:
        """Return the generator for images of one size.

        Args:
            featmap_sizes: (height, width) of each feature map.
        """
        maps = [(int(height), int(width)) for height, width in featmap_sizes]
        height, width = (self.stride * cells for cells in maps[0])
        strides = tuple((round(width / columns), round(height / rows)) for rows, columns in maps)
        return _generator(strides, math.sqrt(height * width), *self._arguments)

    def grid_priors(
        self,
        featmap_sizes: Sequence[Sequence[int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cuda',
    ) -> list[Tensor]:
        """Return the anchors of all maps.

        Args:
            featmap_sizes: (height, width) of each feature map.
            dtype: of the anchors.
            device: of the anchors.

        Returns:
            (height * width * anchors of a cell, 4) each: left, top, right and bottom in pixels.
        """
        return self.fitted(featmap_sizes).grid_priors(featmap_sizes, dtype, device)

    def valid_flags(
        self,
        featmap_sizes: Sequence[Sequence[int]],
        pad_shape: Sequence[int],
        device: torch.device | str = 'cuda',
    ) -> list[Tensor]:
        """Return which anchors have their center in an image of a batch.

        Args:
            featmap_sizes: (height, width) of each feature map of the batch.
            pad_shape: (height, width) of the image, which may be smaller than the batch.
            device: of the flags.

        Returns:
            (height * width * anchors of a cell,) each, bool.
        """
        return self.fitted(featmap_sizes).valid_flags(featmap_sizes, pad_shape, device)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(stride={self.stride}, sizes={self.sizes})'


@lru_cache(maxsize=256)
def _generator(
    strides: tuple[tuple[int, int], ...],
    side: float,
    ratios: tuple[tuple[float, ...], ...],
    sizes: tuple[float, ...],
    use_box_type: bool,
    clip: bool,
) -> SSDAnchorGenerator:
    sides = [side * size for size in sizes]
    generator = SSDAnchorGenerator(
        strides=[*strides],
        ratios=[*ratios],
        min_sizes=sides[:-1],
        max_sizes=sides[1:],
        scale_major=False,
        use_box_type=use_box_type,
    )
    if clip:
        generator.base_anchors = [_clipped(x, side) for x in generator.base_anchors]
    return generator


def _clipped(anchors: Tensor, side: float) -> Tensor:
    centers, sides = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    halves = sides.clamp(max=side) / 2
    return torch.cat([centers - halves, centers + halves], dim=1)
