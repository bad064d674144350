"""Drawn scenes to learn detection and segmentation on.

Six COCO classes are drawn in many styles over textured, cluttered backgrounds, with occlusions,
border cuts, uneven light and sensor noise.
"""

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import ArrayLike

#: Least visible share of an object; where less would show, it is placed elsewhere.
MIN_VISIBLE = 0.35


@dataclass
class SceneObject:
    """One annotated object of a scene.

    Attributes:
        name: COCO class name, one of ``CLASSES``.
        mask: Boolean (height, width) array, true where the object is visible.
        full_area: Pixels of the whole object, with its hidden parts and those beyond the border.
    """

    name: str
    mask: np.ndarray
    full_area: int

    @property
    def visible(self) -> float:
        """Visible share of the object, 0 to 1."""
        return np.count_nonzero(self.mask) / self.full_area


# Shapes are drawn opaque on a transparent BGRA canvas, in coordinates from -1 to 1 within the unit
# circle, so that any rotation of them stays on the canvas.


def _pixels(canvas: np.ndarray, points: ArrayLike) -> np.ndarray:
    return np.rint((np.asarray(points) * 0.47 + 0.5) * len(canvas)).astype(np.int32)


def _length(canvas: np.ndarray, length: float) -> int:
    return max(round(length * 0.47 * len(canvas)), 1)


def _polygon(canvas, points, color):
    cv2.fillPoly(canvas, [_pixels(canvas, points)], color)


def _lines(canvas, points, color, width, closed=False):
    cv2.polylines(canvas, [_pixels(canvas, points)], closed, color, _length(canvas, width))


def _disk(canvas, center, radius, color, start=0):
    axes = (_length(canvas, radius),) * 2
    cv2.ellipse(canvas, _pixels(canvas, center).tolist(), axes, 0, start, 360, color, cv2.FILLED)


def _text(canvas, text, center, width, color, font, weight):
    (unit, _), _ = cv2.getTextSize(text, font, 1, 1)
    scale, thickness = _length(canvas, width) / unit, _length(canvas, weight)
    (w, h), _ = cv2.getTextSize(text, font, scale, thickness)
    x, y = _pixels(canvas, center).tolist()
    cv2.putText(canvas, text, (x - w // 2, y + h // 2), font, scale, color, thickness)


def _circle(count: int, radius: float = 1.0, phase: float = 0.0) -> np.ndarray:
    angles = phase + np.arange(count) * 2 * np.pi / count
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _color(rng, hue=(0, 1), saturation=(0, 1), value=(0.2, 1)):
    """Return an opaque BGRA color (0 to 255) out of ranges of HSV (0 to 1)."""
    h, s, v = (rng.uniform(*limits) for limits in (hue, saturation, value))
    return (*(round(255 * c) for c in reversed(colorsys.hsv_to_rgb(h % 1, s, v))), 255)


def _vivid(rng):
    return _color(rng, saturation=(0.45, 1), value=(0.45, 1))


def _stop_sign(canvas, rng):
    white = _color(rng, saturation=(0, 0.12), value=(0.8, 1))
    octagon = _circle(8, phase=np.pi / 8)
    _polygon(canvas, octagon, white)
    _polygon(
        canvas,
        octagon * rng.uniform(0.86, 0.95),
        _color(rng, (-0.05, 0.035), (0.6, 1), (0.4, 0.95)),
    )
    font = rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX])
    _text(
        canvas, 'STOP', (0, 0), rng.uniform(1.25, 1.45), white, int(font), rng.uniform(0.09, 0.15)
    )


def _sports_ball(canvas, rng):
    side = len(canvas)
    y, x = (np.mgrid[:side, :side].astype(np.float32) / side - 0.5) / 0.47
    disk = x**2 + y**2 < 1
    normals = np.stack([x[disk], y[disk], np.sqrt(1 - x[disk] ** 2 - y[disk] ** 2)], 1)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    x, y, z = coords = turn.astype(np.float32) @ normals.T
    ink = _color(rng, value=(0, 0.3))
    style = rng.integers(3)
    if style == 0:  # soccer: patches round the corners of an icosahedron
        golden = (1 + 5**0.5) / 2
        corners = np.array([np.roll((0, 1, s * golden), k) for s in (-1, 1) for k in range(3)])
        near = np.sort(np.abs(corners / np.hypot(1, golden) @ coords), 0)
        pattern = np.where(near[-1] > 0.93, 1, np.where(near[-1] - near[-2] < 0.035, 2, 0))
        palette = [
            _color(rng, saturation=(0, 0.15), value=(0.85, 1)),
            ink,
            _color(rng, value=(0.3, 0.6)),
        ]
    elif style == 1:  # basketball: two great circles and two curves
        seams = np.minimum(np.abs(x), np.abs(y)) < 0.03
        pattern = seams | (np.abs(np.abs(x) - 0.55 - 0.25 * z**2) < 0.03)
        palette = [
            _color(rng, (0.03, 0.1), (0.6, 0.95), (0.5, 0.95)),
            ink,
        ]
    else:  # tennis: one closed, curved seam
        pattern = np.abs(z - 1.1 * (x**2 - y**2)) < 0.09
        palette = [
            _color(rng, (0.15, 0.28), (0.5, 0.9), (0.7, 1)),
            _color(rng, saturation=(0, 0.1), value=(0.85, 1)),
        ]
    canvas[disk] = np.array(palette, np.uint8)[pattern.astype(int)]


def _clock(canvas, rng):
    face = _color(rng, (0.08, 0.16), (0, 0.25), (0.85, 1))
    ink = _color(rng, saturation=(0, 0.5), value=(0.05, 0.3))
    rim = ink if rng.random() < 0.6 else _color(rng, (0, 0.15), (0.5, 0.9), (0.3, 0.8))
    inner = rng.uniform(0.82, 0.93)
    if rng.random() < 0.8:
        outline, radius = _circle(72), 1.0
    else:
        outline, radius = _circle(4, phase=np.pi / 4), 0.7
    _polygon(canvas, outline, rim)
    _polygon(canvas, outline * inner, face)
    radius *= inner
    if rng.random() < 0.4:
        for text, (x, y) in zip(('3', '6', '9', '12'), _circle(4, radius * 0.76), strict=True):
            _text(canvas, text, (x, y), 0.13 * len(text), ink, cv2.FONT_HERSHEY_DUPLEX, 0.04)
    else:
        for k, mark in enumerate(_circle(12)):
            start = 0.7 if k % 3 == 0 else 0.82
            _lines(canvas, [mark * radius * start, mark * radius * 0.93], ink, 0.05)
    minutes = rng.uniform(0, 720)
    for period, length, width in ((720, 0.5, rng.uniform(0.08, 0.13)), (60, 0.78, 0.07)):
        angle = minutes / period * 2 * np.pi - np.pi / 2
        tip = radius * length * np.array([np.cos(angle), np.sin(angle)])
        _lines(canvas, [-0.15 * tip, tip], ink, width)
    _disk(canvas, (0, 0), 0.07, ink)


def _traffic_light(canvas, rng):
    half = rng.uniform(0.3, 0.4)
    housing = _color(rng, value=(0.08, 0.25))
    if rng.random() < 0.3:
        housing = _color(rng, (0.12, 0.16), (0.7, 1), (0.6, 0.9))
    corners = np.array([(-half, -0.9), (half, -0.9), (half, 0.9), (-half, 0.9)])
    _polygon(canvas, corners, housing)
    _lines(canvas, corners, housing, 0.06, closed=True)  # rounds the corners
    if rng.random() < 0.4:
        _lines(canvas, corners, _color(rng, saturation=(0, 0.3), value=(0.6, 1)), 0.05, closed=True)
    lit, radius = rng.integers(3), rng.uniform(0.62, 0.75) * min(half, 0.36)
    for k, hue in enumerate((0.0, 0.12, 0.38)):
        y = 0.58 * (k - 1)
        if rng.random() < 0.7:
            _disk(canvas, (0, y), radius * 1.22, (12, 12, 12, 255), 180)  # visor
        hue += rng.uniform(-0.03, 0.03)
        brightness = (0.9, 1) if k == lit else (0.15, 0.32)
        _disk(canvas, (0, y), radius, _color(rng, (hue, hue), (0.8, 1), brightness))
        if k == lit:
            _disk(canvas, (0, y), radius * 0.55, _color(rng, (hue, hue), (0.2, 0.5), (1, 1)))


def _kite(canvas, rng):
    half, cross, bottom = rng.uniform(0.5, 0.65), rng.uniform(-0.5, -0.3), rng.uniform(0.4, 0.6)
    center, corners = (0, cross), ((0, -1), (half, cross), (0, bottom), (-half, cross))
    colors = [
        _color(rng, (-0.05, 0.02), (0.7, 1), (0.6, 1)),
        _color(rng, (0.13, 0.17), (0.6, 1), (0.8, 1)),
    ]
    if rng.random() < 0.4:
        colors[1] = _color(rng, (0.55, 0.68), (0.6, 1), (0.5, 1))
    ink = _color(rng, value=(0.05, 0.3))
    tail_y = np.linspace(bottom, 0.98, 24)
    sway = rng.uniform(0.06, 0.14) * np.sin((tail_y - bottom) * rng.uniform(6, 12))
    tail = np.stack([sway, tail_y], 1)
    _lines(canvas, tail, ink, 0.035)
    bow = np.array([(0, 0), (-0.11, -0.06), (-0.11, 0.06), (0, 0), (0.11, -0.06), (0.11, 0.06)])
    for k in range(9, 23, int(rng.integers(6, 10))):
        _polygon(canvas, tail[k] + bow, colors[k % len(colors)])
    for k in range(4):
        _polygon(canvas, [center, corners[k], corners[(k + 1) % 4]], colors[k % len(colors)])
    _lines(canvas, [corners[0], corners[2]], ink, 0.035)
    _lines(canvas, [corners[1], corners[3]], ink, 0.035)


def _boat(canvas, rng):
    turn = np.array([rng.choice([-1, 1]), 1])
    deck, keel = rng.uniform(0.3, 0.42), rng.uniform(0.62, 0.8)
    stern, bow = rng.uniform(-0.85, -0.65), rng.uniform(0.8, 0.9)
    hull = np.array(
        [
            (stern, deck),
            (bow, deck - 0.06),
            (bow - 0.12, (deck + keel) / 2),
            (bow - 0.4, keel),
            (stern + 0.12, keel),
        ]
    )
    mast = rng.uniform(-0.15, 0.15)
    _lines(canvas, turn * [(mast, deck), (mast, -0.97)], _color(rng, (0.05, 0.12)), 0.05)
    sides = ((-1, 0.92, rng.uniform(0.5, 0.7)), (1, rng.uniform(0.7, 0.9), rng.uniform(0.4, 0.65)))
    for side, height, foot in sides[: int(rng.integers(1, 3))]:
        top, inner = np.array([(mast + 0.05 * side, -height), (mast + 0.05 * side, deck - 0.12)])
        outer = inner + np.array([foot * side, 0])
        leech = (top + outer) / 2 + (rng.uniform(0, 0.14) * side, 0)  # the wind in the sail
        white = _color(rng, saturation=(0, 0.2), value=(0.8, 1))
        _polygon(
            canvas,
            turn * [top, leech, outer, inner],
            _color(rng, (-0.05, 0.05), (0.6, 1), (0.5, 0.9)) if rng.random() < 0.2 else white,
        )
        if rng.random() < 0.5:
            a, b = rng.uniform(0.3, 0.9, 2)
            corners = ((a, inner), (a, outer), (b, outer), (b, inner))
            _polygon(canvas, turn * [top + t * (end - top) for t, end in corners], _vivid(rng))
    _polygon(
        canvas,
        turn * hull,
        _color(rng, (0, 0.12) if rng.random() < 0.6 else (0.5, 0.7), (0.4, 1), (0.25, 0.7)),
    )
    _lines(canvas, turn * [hull[0] + (0.03, 0.05), hull[1] + (-0.05, 0.05)], _color(rng), 0.07)


def _clutter(canvas, rng):
    """Draw a shape that is of no class, in colors and outlines that objects have too."""
    colors = [_vivid(rng) if rng.random() < 0.6 else _color(rng) for _ in range(2)]
    kind = rng.choice(5, p=(0.1, 0.1, 0.2, 0.3, 0.3))  # few look like an object
    if kind == 0:
        points = _circle(40) * (1, rng.uniform(0.5, 1) if rng.random() < 0.5 else 1)
    elif kind == 1:
        points = _circle(int(rng.integers(3, 7)))
    elif kind == 2:
        points = _circle(6, 0.95, rng.uniform(0, 6)) * rng.uniform(0.4, 1, (6, 1))
    elif kind == 3:
        points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (0.95, rng.uniform(0.08, 0.3))
    else:
        points = np.array([(-0.7, -0.7), (0.7, -0.7), (0.7, 0), (0, 0), (0, 0.7), (-0.7, 0.7)])
        points = points * rng.uniform(0.5, 1, 2)
    _polygon(canvas, points, colors[0])
    if rng.random() < 0.25:
        _polygon(canvas, points * rng.uniform(0.5, 0.85), colors[1])
    elif rng.random() < 0.25:
        _lines(canvas, points, colors[1], 0.08, closed=True)


_DRAW = {
    'stop sign': _stop_sign,
    'sports ball': _sports_ball,
    'clock': _clock,
    'traffic light': _traffic_light,
    'kite': _kite,
    'boat': _boat,
}
CLASSES = tuple(_DRAW)


def _noise(
    rng: np.random.Generator, height: int, width: int, octaves: int = 6, persistence: float = 0.5
) -> np.ndarray:
    """Return smooth (height, width) noise of several octaves, 0 to 1."""
    field: np.ndarray = np.zeros((2, 2), np.float32)
    for k in range(1, octaves + 1):
        side = 2**k + 1
        field = cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC)
        field = field + persistence**k * rng.random((side, side), np.float32)
    field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(field, field, 0, 1, cv2.NORM_MINMAX)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a textured float32 (height, width, 3) BGR image, 0 to 1."""
    noise = partial(_noise, rng, height, width)
    angle, period = rng.uniform(-0.5, 0.5), rng.uniform(16, 70)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cos, sin = math.cos(angle), math.sin(angle)  # Python's floats leave the arrays in float32
    u = (x * cos + y * sin) / period
    v = (y * cos - x * sin) / period
    kind = rng.integers(6)
    if kind == 0:
        field = noise(persistence=rng.uniform(0.4, 0.8))
    elif kind == 1:  # sky over ground
        horizon = height * rng.uniform(0.3, 0.8) + 20 * (noise(octaves=4) - 0.5)
        field = np.where(y < horizon, 0.5 * y / horizon, 1 - 0.4 * noise(persistence=0.7))
    elif kind == 2:
        field = np.clip(0.5 + rng.uniform(0.6, 3) * np.sin(2 * np.pi * u), 0, 1)
    elif kind == 3:  # bricks
        row = np.floor(2 * v)
        mortar = np.minimum((2 * v) % 1, 2 * ((u + 0.5 * (row % 2)) % 1)) < 0.12
        tones = rng.random(997)[(row * 31 + np.floor(u + 0.5 * (row % 2))).astype(int) % 997]
        field = np.where(mortar, 1, 0.4 * tones)
    elif kind == 4:  # checks
        field = (np.floor(u) + np.floor(v)) % 2
    else:  # grain of wood
        field = (4 * noise(octaves=3) + u * rng.uniform(0.3, 1.5)) % 1
    colors = [
        np.float32(_color(rng, saturation=(0, 0.75), value=(0.15, 1))[:3]) / 255 for _ in range(3)
    ]
    field = field[..., None].astype(np.float32)
    image = colors[0] + field * (colors[1] - colors[0])
    blotches = np.clip((noise(persistence=0.6) - rng.uniform(0.5, 0.9)) * 6, 0, 1)[..., None]
    image += blotches * (colors[2] - image)
    image *= (0.7 + 0.5 * noise(persistence=0.85))[..., None]
    return image


def _patch(
    rng: np.random.Generator,
    draw: Callable[[np.ndarray, np.random.Generator], None],
    longest: float,
    tilt: float = 180.0,
    squeeze: float = 0.7,
) -> np.ndarray:
    """Draw one shape, tilted, foreshortened and shaded.

    Args:
        rng: Random generator.
        draw: Function of (canvas, rng).
        longest: Longer side of the result in pixels.
        tilt: Largest rotation in degrees, either way.
        squeeze: Smallest factor on the width.

    Returns:
        A float32 (height, width, 4) BGRA patch, 0 to 1, its colors premultiplied by alpha.
    """
    side = round(max(1.5 * longest, 96))  # supersampled
    canvas: np.ndarray = np.zeros((side, side, 4), np.uint8)
    draw(canvas, rng)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-tilt, tilt), 1)
    factor = rng.uniform(squeeze, 1)
    matrix = matrix @ [[factor, 0, (1 - factor) * side / 2], [0, 1, 0], [0, 0, 1]]
    canvas = cv2.warpAffine(canvas, matrix, (side, side))
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(canvas[..., 3]))
    scale = longest / max(w, h)
    size = max(round(w * scale), 2), max(round(h * scale), 2)
    patch = cv2.resize(canvas[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)
    patch = patch / np.float32(255)
    ramp = cv2.resize(rng.uniform(0.6, 1.2, (2, 2)).astype(np.float32), size)
    patch[..., :3] *= (ramp * (0.85 + 0.3 * _noise(rng, *size[::-1], octaves=4)))[..., None]
    return np.minimum(patch, patch[..., 3:])


def _place(
    rng: np.random.Generator,
    image: np.ndarray,
    patch: np.ndarray,
    objects: list[SceneObject],
    overlap: bool,
    name: str | None = None,
) -> None:
    """Paste a patch in front of the others where enough of each object stays visible.

    Args:
        rng: Random generator.
        image: Float32 (height, width, 3) image, changed in place.
        patch: BGRA patch as ``_patch`` returns it.
        objects: List of ``SceneObject``, changed in place: masks lose what the patch covers.
        overlap: Whether the patch may cover objects.
        name: Class of the patch; None for clutter, which is not added to the objects.
    """
    (height, width), (h, w) = image.shape[:2], patch.shape[:2]
    full_area = np.count_nonzero(patch[..., 3] > 0.5)
    for _ in range(20):
        margin = 0.5 if rng.random() < 0.12 else 0  # some are cut by the border
        left, top = (
            round(rng.uniform(-margin * side, end - (1 - margin) * side))
            for side, end in ((w, width), (h, height))
        )
        window = np.s_[max(top, 0) : top + h, max(left, 0) : left + w]
        inside = patch[max(-top, 0) : height - top, max(-left, 0) : width - left]
        mask = np.zeros((height, width), bool)
        mask[window] = inside[..., 3] > 0.5
        rest = [SceneObject(o.name, o.mask & ~mask, o.full_area) for o in objects]
        if name is not None:
            rest.append(SceneObject(name, mask, full_area))
        free = overlap or not any((o.mask & mask).any() for o in objects)
        if free and all(o.visible >= MIN_VISIBLE for o in rest):
            image[window] = image[window] * (1 - inside[..., 3:]) + inside[..., :3]
            objects[:] = rest
            return


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, list[SceneObject]]:
    """Draw one scene.

    Args:
        rng: Random generator; the scene depends on nothing but its state.

    Returns:
        The uint8 (height, width, 3) BGR image, its longer side 320 pixels and the other 240 to
        320, and its objects, ten at most, from back to front.

    Example:
        >>> image, objects = draw_scene(np.random.default_rng(0))
        >>> max(image.shape), image.dtype, {item.name for item in objects} <= {*CLASSES}
        (320, dtype('uint8'), True)
    """
    shape = [320, int(rng.integers(240, 321))]
    height, width = shape if rng.random() < 0.4 else shape[::-1]
    image = _background(rng, height, width)
    for _ in range(rng.integers(2, 7)):
        _place(rng, image, _patch(rng, _clutter, 320 * rng.uniform(0.05, 0.5)), [], True)
    objects: list[SceneObject] = []
    for _ in range(2 + rng.binomial(8, 0.5)):
        name = CLASSES[rng.integers(len(CLASSES))]
        longest = 320 * 0.05 * 12 ** (rng.random() ** 0.5)  # 5% to 60%, an eighth of them below 12%
        patch = _patch(
            rng,
            _DRAW[name],
            longest,
            30 if name == 'kite' else 12,
            1 if name == 'sports ball' else 0.8,
        )
        _place(rng, image, patch, objects, rng.random() < 0.4, name)
    for _ in range(rng.integers(0, 3)):
        _place(
            rng,
            image,
            _patch(rng, _clutter, 320 * rng.uniform(0.06, 0.3)),
            objects,
            rng.random() < 0.5,
        )

    light = cv2.resize(rng.uniform(0.75, 1.2, (2, 2)).astype(np.float32), (width, height))
    image *= light[..., None] * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if (sigma := rng.uniform(-0.3, 1)) > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    image += rng.uniform(0.005, 0.025) * rng.standard_normal(image.shape, np.float32)
    return cv2.convertScaleAbs(np.clip(image, 0, 1), alpha=255), objects
