"""From an image to what a task wants, in operations that all runtimes have."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.ops import nms

from ..errors import InputError

INPUT = 'image'
MASK_SIZE = 'mask_size'


class Graph(nn.Module):
    """Images in, answers out: what an exported file computes.

    Args:
        model: a model or a backbone in its export form.
        mean: of each channel, in the order in which the network sees them.
        std: as many.

    Attributes:
        form: what the outputs are, see ``docs/deployment.md``.
        names: of the outputs.
    """

    task = 'features'
    form = 'features'
    model: Any
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer('mean', torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer('std', torch.tensor(std).view(1, -1, 1, 1))

    @property
    def names(self) -> list[str]:
        """Names of the outputs."""
        return [f'features_{i}' for i in range(len(self.model.out_indices))]

    def normalize(self, image: torch.Tensor) -> torch.Tensor:
        """Normalize an image of values from 0 to 255, (N, C, H, W)."""
        return (image - self.mean) / self.std

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the backbone's maps, (N, C, H, W) each."""
        return tuple(self.model(self.normalize(image)))


class ClassifierGraph(Graph):
    """The probabilities of the classes, (N, classes)."""

    task = 'classification'
    form = 'scores'

    @property
    def names(self) -> list[str]:
        """Names of the outputs."""
        return ['scores']

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the scores."""
        scores = self.model.head(self.model.extract_feat(self.normalize(image)))
        return (scores.softmax(dim=1),)


class SegmentorGraph(Graph):
    """The class of each pixel.

    Args:
        args: see :class:`Graph`.
        raw: return the logits of all classes in the place of the largest one. Defaults to False.

    Raises:
        InputError: if mmseg would choose the classes in another way.
    """

    task = 'segmentation'

    def __init__(self, *args: Any, raw: bool = False) -> None:
        super().__init__(*args)
        mode = self.model.test_cfg.get('mode', 'whole')
        if mode != 'whole':
            raise InputError(
                f'model.test_cfg.mode is {mode!r}, and exported files see the whole image at once: '
                'set --cfg-options model.test_cfg.mode=whole, and test whether that is good enough'
            )
        if not hasattr(self.model.decode_head, 'out_channels') or (
            self.model.decode_head.out_channels == 1 and not raw
        ):
            raise InputError(
                'the segmentor has several heads, or one channel and a threshold for two classes, '
                'of which no file is made: export its backbone alone with --backbone'
            )
        self.raw = raw
        self.form = 'logits' if raw else 'mask'

    @property
    def names(self) -> list[str]:
        """Names of the outputs."""
        return [self.form]

    def forward(
        self, image: torch.Tensor, mask_size: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Return the mask, (N, H, W), of the image's size or another one.

        Args:
            image: (N, C, H, W).
            mask_size: height and width, as mmseg brings logits to the size of an image's file.
        """
        feats = self.model.extract_feat(self.normalize(image))
        logits = self.model.decode_head(feats)
        logits = self._resize(logits, image.shape[2:])
        if self.raw:
            return (logits,)
        if mask_size is not None:
            logits = self._resize(logits, (mask_size[0], mask_size[1]))
        return (logits.argmax(dim=1).to(torch.int32),)

    def _resize(self, logits: torch.Tensor, size: Sequence[Any]) -> torch.Tensor:
        align = self.model.decode_head.align_corners
        return F.interpolate(logits, size=size, mode='bilinear', align_corners=align)


class DetectorGraph(Graph):
    """Boxes and their scores, before or after non-maximum suppression.

    Args:
        model: a detector with :class:`~edgenext_mm.models.ssdlite.SSDLiteHead`, in its export form.
        mean: see :class:`Graph`.
        std: see :class:`Graph`.
        size: height and width of the images; None for any.
        form: 'boxes', 'detections' (after non-maximum suppression, for one image of one size) or
            'raw_boxes' (as the head predicts them). Defaults to 'boxes'.

    Raises:
        InputError: if the head has other anchors or boxes than SSDLite's.
    """

    task = 'detection'
    centers: torch.Tensor
    shapes: torch.Tensor

    def __init__(
        self,
        model: Any,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
        form: str = 'boxes',
    ) -> None:
        # Segmentors and classifiers are exported without mmdet.
        from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

        from ..models.anchors import SSDLiteAnchorGenerator

        super().__init__(model, mean, std)
        self.form, self.size = form, size
        head = model.bbox_head
        generator, coder = head.prior_generator, head.bbox_coder
        if form != 'raw_boxes' and (
            not isinstance(generator, SSDLiteAnchorGenerator)
            or not isinstance(coder, DeltaXYWHBBoxCoder)
            or not coder.clip_border
            or coder.add_ctr_clamp
            or head.use_sigmoid_cls
        ):
            raise InputError(
                f'{type(head).__name__} has anchors or boxes other than those of SSDLite, which '
                'alone are decoded here: export with --raw, and decode its outputs yourself'
            )
        self.num_classes = head.num_classes
        self.test_cfg = head.test_cfg
        if form == 'raw_boxes':
            return
        self.stride = generator.stride
        self.per_cell = generator.num_base_priors
        self.deltas_mean, self.deltas_std = list(coder.means), list(coder.stds)
        # Anchors of a cell are centered on it, and grow with the side of the image.
        side = generator.stride * len(self.per_cell)
        maps = [(len(self.per_cell),) * 2, *[(1, 1)] * (len(self.per_cell) - 1)]
        for level, anchors in enumerate(generator.fitted(maps).base_anchors):
            self.register_buffer(f'shape_{level}', (anchors[:, 2:] - anchors[:, :2]) / side)
        self.levels: list[int] | None = None  # anchors of each map
        if size is not None:
            image = torch.zeros(1, self.mean.shape[1], *size)
            with torch.no_grad():
                maps = [x.shape[2:] for x in self.model.extract_feat(image)]
            anchors = generator.grid_priors(maps, device='cpu')
            self.levels = [len(x) for x in anchors]
            boxes = torch.cat(anchors)
            self.register_buffer('centers', (boxes[:, :2] + boxes[:, 2:]) / 2)
            self.register_buffer('shapes', boxes[:, 2:] - boxes[:, :2])

    @property
    def names(self) -> list[str]:
        """Names of the outputs."""
        return {
            'boxes': ['boxes', 'scores'],
            'detections': ['boxes', 'scores', 'labels'],
            'raw_boxes': ['logits', 'deltas'],
        }[self.form]

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return boxes, (N, anchors, 4) in pixels, and scores, (N, anchors, classes)."""
        logits, deltas = self.model.bbox_head(self.model.extract_feat(self.normalize(image)))
        classes, moves = (
            torch.cat([_by_anchor(x, values) for x in maps], dim=1)
            for maps, values in ((logits, self.model.bbox_head.cls_out_channels), (deltas, 4))
        )
        if self.form == 'raw_boxes':
            return classes, moves
        boxes = self._decode(moves, image, logits)
        scores = classes.softmax(dim=-1)[..., : self.num_classes]
        return (boxes, scores) if self.form == 'boxes' else self._select(boxes[0], scores[0])

    def _decode(
        self, moves: torch.Tensor, image: torch.Tensor, maps: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Move the anchors, as mmdet's DeltaXYWHBBoxCoder does, and clip them to the image."""
        if self.levels is not None:
            centers, shapes = self.centers, self.shapes
        else:
            centers, shapes = self._anchors(maps)
        moves = moves * moves.new_tensor(self.deltas_std) + moves.new_tensor(self.deltas_mean)
        limit = abs(math.log(16 / 1000))
        centers = centers + shapes * moves[..., :2]
        halves = shapes * moves[..., 2:].clamp(-limit, limit).exp() / 2
        corners = torch.stack((centers - halves, centers + halves), dim=2)  # (N, anchors, 2, 2)
        if self.levels is not None:
            edges = corners.new_tensor(image.shape[:1:-1])
        else:
            ones = torch.ones_like(image[0, 0])
            edges = torch.stack((ones[0].sum(), ones[:, 0].sum()))
        return torch.minimum(corners.clamp(min=0), edges).flatten(2)

    def _anchors(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return centers and shapes of the anchors of images of any size, (anchors, 2) each.

        Sizes are sums of ones, since a size itself is a constant to some tracers.
        """
        first = torch.ones_like(maps[0][0, 0])
        image_width, image_height = self.stride * first[0].sum(), self.stride * first[:, 0].sum()
        side = (image_width * image_height).sqrt()
        centers, shapes = [], []
        for level in range(len(self.per_cell)):
            ones = torch.ones_like(maps[level][0, 0])
            columns, rows = ones.cumsum(dim=1) - 0.5, ones.cumsum(dim=0) - 0.5
            x = columns * (image_width / ones[0].sum()).round()
            y = rows * (image_height / ones[:, 0].sum()).round()
            cells = torch.stack((x, y), dim=-1).flatten(0, 1)[:, None]
            shape = getattr(self, f'shape_{level}')[None] * side
            centers.append((cells + torch.zeros_like(shape)).flatten(0, 1))
            shapes.append((shape + torch.zeros_like(cells)).flatten(0, 1))
        return torch.cat(centers), torch.cat(shapes)

    def _select(self, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Choose the boxes of an image as mmdet's SSDHead does."""
        cfg = self.test_cfg
        most, before = cfg.get('max_per_img', -1), cfg.get('nms_pre', -1)  # -1: all
        assert self.levels is not None and self.size is not None
        kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        start = 0
        for anchors in self.levels:
            level = scores[start : start + anchors].flatten()
            values, pairs = level.topk(min(before, len(level)) if before > 0 else len(level))
            kept.append((values, pairs + start * self.num_classes))
            start += anchors
        values, pairs = (torch.cat(x) for x in zip(*kept, strict=True))
        boxes, labels = boxes[pairs // self.num_classes], pairs % self.num_classes
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        chosen = ((values > cfg.get('score_thr', 0)) & has_area).nonzero()[:, 0]
        boxes, values, labels = boxes[chosen], values[chosen], labels[chosen]
        # Boxes of different classes are moved apart, so that none suppresses another.
        apart = boxes + (labels * (max(self.size) + 1))[:, None]
        order = nms(apart, values, cfg.nms.iou_threshold)
        order = order[:most] if most > 0 else order
        return boxes[order], values[order], labels[order]


def _by_anchor(x: torch.Tensor, values: int) -> torch.Tensor:
    """Order a map (N, anchors of a cell * values, H, W) as (N, anchors, values)."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)
