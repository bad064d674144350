import cv2
import numpy as np
import PIL
import pytest
from PIL import Image

from edgenext_mm import resize as module
from edgenext_mm.errors import InputError
from edgenext_mm.resize import resize

FLAGS = {
    ('bilinear', 'cv2'): cv2.INTER_LINEAR,
    ('bicubic', 'cv2'): cv2.INTER_CUBIC,
    ('bilinear', 'pillow'): Image.Resampling.BILINEAR,
    ('bicubic', 'pillow'): Image.Resampling.BICUBIC,
}


@pytest.fixture
def in_numpy(monkeypatch):
    monkeypatch.setattr(module, '_library', lambda backend: None)


def theirs(image, size, method, backend):
    flag = FLAGS[method, backend]
    if backend == 'cv2':
        return cv2.resize(image, size[::-1], interpolation=flag).reshape(*size, *image.shape[2:])
    return np.array(Image.fromarray(image).resize(size[::-1], flag))


def cases(backend):
    """Noise and edges of many sizes, and the sizes to make of them, larger and smaller."""
    rng = np.random.default_rng(0)
    channels = [(), (3,)] if backend == 'pillow' else [(), (1,), (3,), (4,)]
    for case in range(120):
        given, wanted = [(120, 120), (9, 60), (400, 60)][case % 3]
        shape = tuple(rng.integers(4 if backend == 'cv2' else 1, given, 2))
        image = rng.integers(0, 256, (*shape, *channels[case % len(channels)]), np.uint8)
        size = tuple(map(int, rng.integers(1, wanted, 2)))
        yield (image // 128 * 255 if case % 5 == 0 else image), size


@pytest.mark.parametrize(('method', 'backend'), FLAGS)
def test_equals_opencv_and_pillow(in_numpy, method, backend):
    off = pixels = 0
    for image, size in cases(backend):
        (height, width), given = size, image.shape
        if PIL.__version__ < '13' and given[0] - height > max(2 * (given[1] - width), 0):
            continue  # Pillow's order of the passes was another
        ours = resize(image, size, method, backend)
        assert ours.shape == (*size, *given[2:]) and ours.dtype == np.uint8
        distance = np.abs(ours.astype(int) - theirs(image, size, method, backend))
        assert distance.max() <= 1
        off, pixels = off + np.count_nonzero(distance), pixels + distance.size
    if (method, backend) != ('bicubic', 'cv2'):
        assert off == 0
    elif cv2.ipp.useIPP():  # sums halfway between two values
        assert off <= 1e-4 * pixels
    else:
        assert off <= 0.06 * pixels


@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
def test_bands_of_more_than_eight_bits(in_numpy, method):
    image = np.random.default_rng(0).random((30, 41, 4), np.float32) * 60_000
    ours = resize(image, (17, 50), method, 'cv2')
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs(image, (17, 50), method, 'cv2'), atol=6)


@pytest.mark.parametrize(('method', 'backend'), FLAGS)
def test_takes_the_libraries_that_are_there(method, backend):
    for image, size in [*cases(backend)][:9]:
        np.testing.assert_array_equal(
            resize(image, size, method, backend), theirs(image, size, method, backend)
        )


def test_what_pillow_cannot_resize(in_numpy):
    for image in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32)):
        with pytest.raises(InputError, match="set backend='cv2'"):
            resize(image, (2, 2), 'bicubic', 'pillow')
