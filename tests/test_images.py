"""Images of all kinds, with what a viewer shows worked out by hand or by Pillow."""

import itertools
import warnings
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from mmcv.image import imfrombytes
from PIL import Image, ImageOps

from edgenext_mm import images
from edgenext_mm.errors import InputError
from edgenext_mm.images import decode_image, image_size_of, read_image

HEIGHT, WIDTH = 24, 40
RAMP = np.linspace(0, 255, HEIGHT * WIDTH).round().astype(np.uint8).reshape(HEIGHT, WIDTH)
COLOR = np.dstack([RAMP, RAMP[::-1], RAMP // 2])
BANDS = np.dstack([COLOR, RAMP // 3])
LONG = np.uint16(RAMP) * 257  # all of 16 bits
LONG_COLOR = np.dstack([LONG, LONG[::-1], LONG // 2])
HALF = np.where(RAMP < 128, 0, 255).astype(np.uint8)


def pillow(image, kind='PNG', **options):
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def tiff(values, **options):
    file = BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def png(values):
    return cv2.imencode('.png', values)[1].tobytes()


def rgb(content):
    return decode_image(content, 'image')[:, :, ::-1]


def grey(values):
    return np.dstack([values] * 3)


def palette(**options):
    image = Image.fromarray(RAMP // 64, 'P')
    image.putpalette([10, 20, 30, 250, 0, 0, 0, 250, 0, 0, 0, 250])
    return pillow(image, **options)


COLORS = np.uint8([[10, 20, 30], [250, 0, 0], [0, 250, 0], [0, 0, 250]])[RAMP // 64]
TRANSPARENT = np.where(RAMP[..., None] // 64 == 1, 255, COLORS)
BLENDED = (COLOR * (RAMP[..., None] / 255) + 255 - RAMP[..., None]).astype(float)

KINDS = {
    'grey': (pillow(RAMP), grey(RAMP)),
    'color': (pillow(COLOR), COLOR),
    'one bit': (pillow(Image.fromarray(HALF).convert('1')), grey(HALF)),
    'one bit TIFF': (pillow(Image.fromarray(HALF).convert('1'), 'TIFF'), grey(HALF)),
    'palette': (palette(), COLORS),
    'palette GIF': (palette(kind='GIF'), COLORS),
    'transparent index': (palette(transparency=1), TRANSPARENT),
    'transparent shade': (
        pillow(RAMP, transparency=90),
        grey(np.where(RAMP == 90, 255, RAMP)),
    ),
    'RGBA': (pillow(np.dstack([COLOR, RAMP])), BLENDED),
    'RGBA WebP': (pillow(np.dstack([COLOR, RAMP]), 'WEBP', lossless=True, exact=True), BLENDED),
    'opaque RGBA': (pillow(np.dstack([COLOR, np.full_like(RAMP, 255)])), COLOR),
    'grey and alpha': (pillow(np.dstack([RAMP, HALF])), grey(np.where(HALF == 0, 255, RAMP))),
    'CMYK TIFF': (
        pillow(Image.fromarray(np.dstack([255 - COLOR, RAMP * 0]), 'CMYK'), 'TIFF'),
        COLOR,
    ),
    '16-bit PNG': (pillow(LONG), grey(RAMP)),
    '16-bit JPEG 2000': (pillow(LONG, 'JPEG2000', num_resolutions=3), grey(RAMP)),
    '16-bit PGM': (b'P5 40 24 65535\n' + LONG.astype('>u2').tobytes(), grey(RAMP)),
    '16-bit TIFF': (tiff(LONG), grey(RAMP)),
    '16-bit TIFF, big-endian': (tiff(LONG, byteorder='>'), grey(RAMP)),
    '16-bit TIFF, 0 is white': (tiff(65_535 - LONG, photometric='miniswhite'), grey(RAMP)),
    '16-bit color PNG': (png((np.uint16(COLOR) * 257)[:, :, ::-1]), COLOR),
    '16-bit color TIFF': (tiff(np.uint16(COLOR) * 257, photometric='rgb'), COLOR),
    'float TIFF to 1': (tiff(np.float32(RAMP / 255)), grey(RAMP)),
    'float TIFF to 255': (tiff(np.float32(RAMP)), grey(RAMP)),
    'float color TIFF': (tiff(np.float32(COLOR / 255), photometric='rgb'), COLOR),
    'double TIFF': (tiff(RAMP / 255), grey(RAMP)),
    '32-bit TIFF': (tiff(np.int32(RAMP)), grey(RAMP)),
    'signed 16-bit TIFF': (tiff(np.int16(RAMP)), grey(RAMP)),
    'three unnamed bands': (tiff(COLOR, photometric='minisblack', planarconfig='contig'), COLOR),
}


@pytest.mark.parametrize('kind', KINDS)
def test_shows_what_a_viewer_shows(kind):
    content, expected = KINDS[kind]
    shown = rgb(content)
    assert shown.dtype == np.uint8 and shown.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(shown - expected.astype(float)).max() <= (1 if expected is BLENDED else 0)
    shades = decode_image(content, 'image', 'grayscale')
    assert np.array_equal(shades, np.array(Image.fromarray(shown.copy()).convert('L')))


def test_lossy_kinds():
    """JPEG, among them the CMYK of Adobe, which is stored inverted."""
    smooth = np.array(Image.fromarray(COLOR).resize((320, 192), Image.Resampling.BICUBIC))
    content = pillow(smooth, 'JPEG', quality=95)
    assert np.array_equal(decode_image(content, 'x'), imfrombytes(content, backend='cv2'))
    assert np.array_equal(decode_image(content, 'x'), imfrombytes(content, backend='pillow'))
    inverted = pillow(Image.fromarray(smooth).convert('CMYK'), 'JPEG', quality=95)
    assert b'Adobe' in inverted
    assert np.abs(rgb(inverted) - smooth.astype(float)).mean() < 3
    light = pillow(Image.fromarray(smooth).convert('L'), 'JPEG', quality=95)
    assert np.abs(rgb(light)[..., 0] - smooth @ [0.299, 0.587, 0.114]).mean() < 2


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP', 'MPO'])
def test_orientation(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[images._ORIENTATION] = orientation
    content = pillow(COLOR, kind, exif=exif, **({'lossless': True} if kind == 'WEBP' else {}))
    expected = ImageOps.exif_transpose(Image.open(BytesIO(content))).convert('RGB')
    assert expected.height == (HEIGHT if orientation < 5 else WIDTH)
    assert np.array_equal(rgb(content), expected)
    assert np.array_equal(decode_image(content, 'x', 'grayscale'), expected.convert('L'))
    assert np.array_equal(decode_image(content, 'x', 3), expected)
    (tmp_path / 'image').write_bytes(content)
    assert image_size_of(tmp_path / 'image') == (expected.height, expected.width)
    if kind in ('PNG', 'TIFF'):
        content = pillow(LONG, kind, exif=exif)
        expected = ImageOps.exif_transpose(Image.fromarray(RAMP, 'L').copy())
        upright = images._upright(RAMP, orientation)
        assert np.array_equal(rgb(content)[..., 0], upright)
        assert np.array_equal(decode_image(content, 'x', 1), upright * 257.0)
    if kind == 'TIFF':  # not by Pillow
        tag = (images._ORIENTATION, 'H', 1, orientation, True)
        content = tiff(np.moveaxis(BANDS, 2, 0), planarconfig='separate', extratags=[tag])
        assert np.array_equal(decode_image(content, 'x', 4), images._upright(BANDS, orientation))
        (tmp_path / 'image').write_bytes(content)
        assert image_size_of(tmp_path / 'image') == images._upright(RAMP, orientation).shape


def test_broken_orientation(tmp_path):
    for exif in (b'Exif\0\0nonsense', b'Exif\0\0II*\0\xff\xff\xff\xff'):
        assert np.array_equal(rgb(pillow(COLOR, exif=exif)), COLOR)
        (tmp_path / 'image').write_bytes(pillow(COLOR, exif=exif))
        assert image_size_of(tmp_path / 'image') == (HEIGHT, WIDTH)


STORED = {
    '8-bit PNG': (pillow(RAMP), RAMP),
    '16-bit PNG': (pillow(LONG), LONG),
    '16-bit TIFF': (tiff(LONG), LONG),
    'signed TIFF': (tiff(LONG.astype(np.int16)), LONG.astype(np.int16)),
    'float TIFF': (tiff(np.float32(LONG) / 3), np.float32(LONG) / 3),
    'grey and alpha': (pillow(np.dstack([RAMP, HALF])), np.dstack([RAMP, HALF])),
    '16-bit color PNG': (png(LONG_COLOR[..., ::-1]), LONG_COLOR),
    'RGBA': (pillow(BANDS), BANDS),
    '16-bit RGBA': (png(np.uint16(BANDS)[..., [2, 1, 0, 3]] * 200), np.uint16(BANDS) * 200),
    '4-band TIFF': (tiff(BANDS, photometric='rgb'), BANDS),
    '4-band TIFF, unspecified': (
        tiff(BANDS, photometric='rgb', extrasamples=['unspecified']),
        BANDS,
    ),
    '4-band 16-bit TIFF': (tiff(np.uint16(BANDS) * 200, photometric='rgb'), np.uint16(BANDS) * 200),
    'planes': (
        tiff(np.moveaxis(np.uint16(BANDS), 2, 0) * 200, planarconfig='separate'),
        np.uint16(BANDS) * 200,
    ),
    'unnamed bands': (tiff(BANDS, photometric='minisblack', planarconfig='contig'), BANDS),
    '7 bands': (
        tiff(np.dstack([BANDS, COLOR]), photometric='minisblack', planarconfig='contig'),
        np.dstack([BANDS, COLOR]),
    ),
    '4 float bands': (tiff(np.float32(BANDS), photometric='rgb'), np.float32(BANDS)),
}


@pytest.mark.parametrize('kind', STORED)
def test_reads_bands_as_stored(kind):
    content, expected = STORED[kind]
    count = expected.shape[2] if expected.ndim == 3 else 1
    read = decode_image(content, 'image', count)
    assert read.dtype == (np.uint8 if expected.dtype == np.uint8 else np.float32)
    assert np.array_equal(read, expected)
    wrong = count + 1 if count != 3 else 5
    with pytest.raises(InputError, match=rf'^image has {count} bands, and .* wants {wrong}'):
        decode_image(content, 'image', wrong)


NAN = np.float32(RAMP / 255)
NAN[3, 4] = np.nan
INFINITE = np.float32(RAMP / 255)
INFINITE[3, 4] = -np.inf
JPEG = pillow(COLOR, 'JPEG')
REFUSED = {
    'NaN': (tiff(NAN), 'not finite'),
    'infinite': (tiff(INFINITE), 'not finite'),
    'NaN in color': (tiff(np.dstack([NAN] * 3), photometric='rgb'), 'not finite'),
    'degrees': (tiff(np.float32(RAMP) + 273.15), 'values from 273.15 to 528.15'),
    'below zero': (tiff(np.float32(RAMP / 255) - 0.5), 'values from -0.5 to 0.5'),
    'Hounsfield': (tiff(np.int16(RAMP) * 10 - 1000), 'values from -1000 to 1550'),
    '32-bit': (tiff(np.int32(LONG)), 'values from 0 to 65535'),
    'transparent': (pillow(np.dstack([COLOR, RAMP * 0])), 'transparent everywhere'),
    'complex': (tiff(RAMP.astype(np.complex64)), 'has complex values'),
    'bands': (STORED['7 bands'][0], 'has 7 bands: read them by color_type=7'),
    'truncated JPEG': (JPEG[: len(JPEG) // 2], 'cannot be read as an image'),
    'truncated PNG': (pillow(COLOR)[:200], 'cannot be read as an image'),
    'truncated TIFF': (tiff(COLOR, photometric='rgb')[:1000], 'cannot be read as an image'),
    'text': (b'no image', 'Pillow knows no such format'),
    'empty': (b'', 'it is empty'),
    'volume': (tiff(np.zeros((4, 8, 8), np.uint8), volumetric=True), '.'),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_refuses_by_name(kind):
    content, reason = REFUSED[kind]
    for color_type in ('color', 'grayscale'):
        with pytest.raises(InputError, match=f'^scans/7 .*{reason}'):
            decode_image(content, 'scans/7', color_type)


def test_refuses_other_color_types():
    for color_type in ('unchanged', 'grey', 0, -1, 2.0, True, None):
        with pytest.raises(InputError, match=r"color_type is 'color', 'grayscale' or the number"):
            decode_image(JPEG, 'x', color_type)


@pytest.mark.parametrize(
    ('content', 'color_type'), [(JPEG, 'color'), (STORED['7 bands'][0], 7)], ids=['Pillow', 'TIFF']
)
def test_large_images(content, color_type, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', HEIGHT * WIDTH // 2 - 1)
    with pytest.raises(InputError, match=r'^map is too large .*: cut it into tiles, shrink it'):
        decode_image(content, 'map', color_type)


def test_says_once_what_an_image_loses(monkeypatch):
    monkeypatch.setattr(images, '_warned', set())
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', HEIGHT * WIDTH - 1)
    pages = tiff(np.stack([RAMP, RAMP * 0]), photometric='minisblack')
    animation = pillow(COLOR, 'GIF', save_all=True, append_images=[Image.fromarray(RAMP)])
    twelve_bits = pillow(LONG >> 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        for _ in range(2):
            assert np.array_equal(rgb(pages), grey(RAMP))
            assert rgb(animation).shape == (HEIGHT, WIDTH, 3)
            assert rgb(twelve_bits).max() == 15
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 3
    assert texts[0].startswith('image has 2 frames or pages')
    assert texts[1].startswith('image has 40x24 pixels')
    assert 'values from 0 to 4095 of 0 to 65535, which is 16 of 256 levels' in texts[2]


def test_read_image(tmp_path):
    path = tmp_path / 'image.png'
    path.write_bytes(pillow(COLOR))
    assert np.array_equal(read_image(path), COLOR[:, :, ::-1])
    assert np.array_equal(read_image(str(path), 3), COLOR)
    for missing in (tmp_path / 'none.png', tmp_path):
        with pytest.raises(InputError, match=rf'^{missing} cannot be read as an image \('):
            read_image(missing)


def test_only_input_errors():
    """Whatever is cut off or changed in a file."""
    random = np.random.default_rng(0)
    contents = [content for content, _ in (KINDS | STORED).values()]
    for content, color_type in itertools.product(contents, ('color', 'grayscale', 1, 4)):
        for _ in range(3):
            broken = bytearray(content)
            for place in random.integers(len(broken), size=4):
                broken[place] = random.integers(256)
            for changed in (broken, broken[: random.integers(len(broken))]):
                try:
                    image = decode_image(bytes(changed), 'image', color_type)
                except InputError as error:
                    assert str(error).startswith('image ')
                else:
                    assert image.shape[2:] in {'color': [(3,)], 4: [(4,)]}.get(color_type, [()])
