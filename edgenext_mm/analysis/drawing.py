"""Pictures of what was found, or is annotated, in an image."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

from ..runtime import Classification, Detections, Segmentation
from .fonts import draw_text

Result = Detections | Segmentation | Classification
TOP = 5  # classes of an image in a table and a picture


def only(found: Detections, kept: np.ndarray) -> Detections:
    """Return the objects for which a mask (K,) is true.

    Example:
        >>> found = Detections(np.eye(2, 4), np.array([0.9, 0.2]), np.array([0, 0]), ['kite'])
        >>> only(found, found.scores > 0.5).scores
        array([0.9])
    """
    return Detections(found.boxes[kept], found.scores[kept], found.labels[kept], found.names)


def draw(image: np.ndarray, result: Result) -> Image.Image:
    """Draw a result onto its image.

    Args:
        image: see :func:`as_picture`.
        result: of a predictor; what has the score nan is annotated, and no number is written. Where
            a mask is negative, nothing is painted.
    """
    picture = as_picture(image)
    colors = colors_of(result)
    if isinstance(result, Segmentation):
        painted = np.array(colors, np.uint8)[result.mask]
        blended = Image.blend(picture, Image.fromarray(painted), 0.5)
        return Image.composite(blended, picture, Image.fromarray(result.mask >= 0))
    brush = ImageDraw.Draw(picture)
    size = max(min(picture.size) // 30, 10)
    if isinstance(result, Classification):
        for line, (name, score) in enumerate(result.top(TOP)):
            draw_text(brush, (0, line * 1.25 * size), _text(name, score), size, (0, 0, 0))
        return picture
    for box, score, label in reversed(
        [*zip(result.boxes, result.scores, result.labels, strict=True)]
    ):
        brush.rectangle(
            [float(value) for value in box], outline=colors[label], width=max(size // 8, 1)
        )
        place = (box[0], max(box[1] - 1.25 * size, 0))
        draw_text(brush, place, _text(result.names[label], score), size, colors[label])
    return picture


def as_picture(image: np.ndarray) -> Image.Image:
    """Return an image in the colors in which it is shown.

    Args:
        image: (height, width[, channels]), in BGR; of bands the first three, or the first, are
            shown. If it is not of uint8, its largest value becomes white.

    Example:
        >>> as_picture(np.array([[[255, 0, 0]]], np.uint8)).getpixel((0, 0))
        (0, 0, 255)
    """
    shown = (
        image if image.ndim == 2 else image[:, :, 2::-1] if image.shape[2] >= 3 else image[:, :, 0]
    )
    if shown.dtype != np.uint8:
        shown = (255 * (shown / max(float(shown.max()), 1))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(shown)).convert('RGB')


def _text(name: str, score: float) -> str:
    return name if np.isnan(score) else f'{name} {score:.2f}'


def colors_of(result: Result) -> list[tuple[int, ...]]:
    """Return a color for each class: the palette's, or some of many hues."""
    palette = result.palette if isinstance(result, Segmentation) else ()
    count = len(result.names)
    if isinstance(result, Segmentation):
        count = max(count, int(result.mask.max()) + 1)
    hues = (colorsys.hsv_to_rgb(i * 0.618 % 1, 0.8, 0.95) for i in range(count))
    others = [tuple(round(255 * value) for value in hue) for hue in hues]
    return [tuple(color) for color in palette][:count] + others[len(palette) :]
