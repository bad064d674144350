"""An error of a pipeline names the image or mask if that cannot be read, and no file otherwise."""

import errno
import itertools
import resource
import shutil
from pathlib import Path

import pytest
from mmcv.transforms import TestTimeAug
from mmdet.datasets.transforms import LoadAnnotations as LoadBoxes
from mmseg.datasets.transforms import LoadAnnotations as LoadMask

from edgenext_mm.datasets import (
    CocoDataset,
    CustomDataset,
    LoadImageFromFile,
    PascalVOCDataset,
)
from edgenext_mm.errors import InputError


def detection(root, decoder, *steps):
    return CocoDataset(
        data_root=str(root),
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        serialize_data=False,  # Serializing collects garbage: 0.2 s each time.
        pipeline=[LoadImageFromFile(imdecode_backend=decoder), LoadBoxes(with_bbox=True), *steps],
    )


def classification(root, decoder, *steps):
    return CustomDataset(
        data_root=str(root / 'imagenet'),
        ann_file='meta/train.txt',
        data_prefix='train',
        serialize_data=False,
        pipeline=[LoadImageFromFile(imdecode_backend=decoder), *steps],
    )


def segmentation(root, decoder, *steps):
    return PascalVOCDataset(
        data_root=str(root / 'VOC2012'),
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        serialize_data=False,
        pipeline=[
            LoadImageFromFile(imdecode_backend=decoder),
            LoadMask(imdecode_backend='pillow' if decoder == OURS else decoder),
            *steps,
        ],
    )


def augmented_segmentation(root, decoder, *steps):
    """With the loader of the mask in another transform."""
    dataset = segmentation(root, decoder)
    load_image, load_mask = dataset.pipeline.transforms
    dataset.pipeline.transforms = [load_image, TestTimeAug([[load_mask], *([s] for s in steps)])]
    return dataset


OURS = 'edgenext_mm'
DECODERS = OURS, 'pillow', 'cv2'
FILES = [
    (detection, 'img_path'),
    (classification, 'img_path'),
    (segmentation, 'img_path'),
    (segmentation, 'seg_map_path'),
    (augmented_segmentation, 'seg_map_path'),
]


def remove(path):
    path.unlink()


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def empty(path):
    path.write_bytes(b'')


def replace_by_text(path):
    path.write_bytes(b'no image')


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture(scope='module')
def data(demo_data, tmp_path_factory):
    """A copy of the demo data to spoil; each test restores it."""
    return shutil.copytree(demo_data, tmp_path_factory.mktemp('spoiled') / 'data')


# OpenCV fills the rest of a truncated file with grey, without an error.
@pytest.mark.parametrize(
    ('spoil', 'decoder'),
    [
        *itertools.product([remove, replace_by_folder, empty, replace_by_text], DECODERS),
        *itertools.product([truncate], DECODERS[:2]),
    ],
)
@pytest.mark.parametrize(('build', 'key'), FILES)
def test_names_a_file_that_cannot_be_read(build, key, spoil, decoder, data):
    dataset = build(data, decoder)
    assert dataset[3]
    path = Path(dataset.get_data_info(3)[key])
    content = path.read_bytes()
    spoil(path)
    with pytest.raises(InputError) as error:
        dataset[3]
    assert str(error.value).startswith(f'{path} cannot be read as an image (')
    data = 'the data' if decoder == OURS and key == 'img_path' else dataset.ann_file
    assert f'take it out of {data}' in str(error.value)
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


def full_disk(results):
    with open('/dev/full', 'wb') as cache:
        cache.write(b'features')


def missing_auxiliary_file(results):
    Path('/nowhere/depth.png').read_bytes()


def forbidden_cache(results):
    raise PermissionError(errno.EACCES, 'Permission denied', '/cache')


def shape_of_none(results):
    return None.shape


def broken_profile(results):
    raise SyntaxError('not a profile')


@pytest.mark.parametrize('build', dict(FILES))
@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (full_disk, OSError),
        (missing_auxiliary_file, FileNotFoundError),
        (forbidden_cache, PermissionError),
        (shape_of_none, AttributeError),
        (broken_profile, SyntaxError),
    ],
)
def test_leaves_other_errors_as_they_are(build, step, expected, demo_data):
    dataset = build(demo_data, OURS, step)
    with pytest.raises(expected) as error:
        dataset[3]
    assert error.type is expected and step.__name__ in [entry.name for entry in error.traceback]


@pytest.mark.parametrize('build', dict(FILES))
def test_too_many_open_files(build, demo_data):
    dataset = build(demo_data, OURS)
    assert dataset[3]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            dataset[3]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert error.value.errno == errno.EMFILE


@pytest.mark.parametrize('build', dict(FILES))
def test_unknown_decoder(build, demo_data):
    with pytest.raises(ValueError, match='backend: pilow is not supported') as error:
        build(demo_data, 'pilow')[3]
    assert error.type is ValueError
