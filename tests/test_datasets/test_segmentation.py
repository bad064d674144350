"""Images and masks as people have them: found by name, compared, and looked through for classes."""

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmpretrain.datasets import GaussianBlur as MMPretrainGaussianBlur
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.evaluation import IoUMetric
from PIL import Image

from edgenext_mm.datasets import BaseSegDataset, GaussianBlur
from edgenext_mm.errors import InputError

PIPELINE = [LoadImageFromFile(imdecode_backend='pillow'), LoadAnnotations(), PackSegInputs()]


@pytest.fixture
def write(tmp_path):
    """Write an image and its mask, in folders of their own."""

    def write(name, ids=(0, 1, 2), mask='', size=(6, 4), exif=None):
        stem = name.rpartition('.')[0]
        labels = np.resize(np.array(ids, np.uint8), size[::-1])
        for folder in ('images', 'masks'):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.new('RGB', (6, 4))
        image.save(tmp_path / 'images' / name, **({'exif': exif} if exif else {}))
        Image.fromarray(labels).save(tmp_path / 'masks' / (mask or f'{stem}.png'))

    return write


@pytest.fixture
def build(tmp_path):
    def build(classes=('sky', 'road', 'car'), masks='masks', **settings):
        prefix = dict(img_path='images', **({'seg_map_path': masks} if masks else {}))
        return BaseSegDataset(
            data_root=str(tmp_path),
            data_prefix=prefix,
            metainfo=dict(classes=classes),
            pipeline=PIPELINE,
            **settings,
        )

    return build


def names(dataset):
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [(i['img_path'].split('/')[-1], i['seg_map_path'].split('/')[-1]) for i in infos]


def test_any_suffix(write, build, tmp_path):
    write('1.jpg')
    write('2.JPG')
    write('3.png')
    write('4.webp', mask='4.PNG')
    write('inner/5.tif', mask='inner/5.bmp')
    (tmp_path / 'images/notes.txt').write_text('')
    (tmp_path / 'images/._1.jpg').write_text('')  # macOS
    Image.new('L', (6, 4)).save(tmp_path / 'masks/9.png')
    pairs = [('1.jpg', '1.png'), ('2.JPG', '2.png'), ('3.png', '3.png'), ('4.webp', '4.PNG')]
    dataset = build()
    assert names(dataset) == [*pairs, ('5.tif', '5.bmp')]
    assert dataset.report.counts('left out') == {
        'files that are no images': 1,
        'masks without an image': 1,
    }
    assert names(build(img_suffix='.jpg')) == pairs[:1]
    assert build(img_suffix='.jpg').report.counts('left out')['images of another suffix'] == 4
    assert names(build(img_suffix=('.jpg', '.png'))) == [pairs[0], pairs[2]]
    (tmp_path / 'train.txt').write_text('\ufeff4\n1.jpg\n\n')
    assert names(build(ann_file='train.txt')) == [pairs[3], pairs[0]]
    write('1.png')
    with pytest.raises(InputError, match=r'images/1\.jpg and .*images/1\.png have the same name'):
        build()


def test_images_and_masks_in_one_folder(tmp_path, build):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (6, 4)).save(tmp_path / 'images/1.jpg')
    Image.fromarray(np.resize(np.arange(3, dtype=np.uint8), (4, 6))).save(tmp_path / 'images/1.png')
    assert names(build(masks='images')) == [('1.jpg', '1.png')]
    (tmp_path / 'images/1.png').rename(tmp_path / 'images/1_mask.png')
    settings = dict(masks='images', seg_map_suffix='_mask.png')
    assert names(build(**settings)) == [('1.jpg', '1_mask.png')]
    Image.new('RGB', (6, 4)).save(tmp_path / 'images/1.png')
    assert names(build(**settings, img_suffix='.png')) == [('1.png', '1_mask.png')]


def test_spelling_of_names(write, build, tmp_path):
    write('u\u0308 1.jpg', mask='ü 1.png')
    for name in ('u\u0308 1', 'ü 1.png', 'ü 1.JPG '):
        for encoding in ('utf-8', 'utf-16'):
            (tmp_path / 'train.txt').write_text(f'{name}\nü 1\n', encoding)
            dataset = build(ann_file='train.txt', test_mode=True)
            assert names(dataset) == [('u\u0308 1.jpg', 'ü 1.png')]
            assert dataset.report.counts('used') == {'images that are listed twice': 1}
    assert len(build(ann_file='train.txt')) == 2


def test_class_without_a_pixel(write, build):
    for name in 'abc':
        write(f'{name}.jpg', ids=(0, 255))
    settings = dict(classes=('background', 'object'))
    with pytest.raises(InputError, match=r"'object'; the masks hold 0 and 255, and 255 is left"):
        build(**settings)
    assert build(**settings, allow_missing_classes=True)[0]
    assert build(**settings, test_mode=True)[0]
    dataset = build(classes=('object',), test_mode=True)
    dataset.prepare_metric(IoUMetric(), [dataset])
    write('a.jpg', ids=[255])
    write('b.jpg', ids=[255])
    write('c.jpg', ids=[255])
    with pytest.raises(InputError, match='no pixel of a class, so that nothing can be evaluated'):
        dataset.prepare_metric(IoUMetric(), [dataset])
    dataset.prepare_metric(IoUMetric(format_only=True), [dataset])
    write('d.jpg', ids=(0, 1))
    assert build(**settings)[0]
    with pytest.raises(InputError, match="no image with a pixel of 1 of the 3 classes, 'far'"):
        build(classes=('background', 'object', 'far'))


@pytest.mark.parametrize('test_mode', [False, True])
def test_mask_of_another_size(write, build, test_mode):
    exif = Image.Exif()
    exif[0x0112] = 6
    write('1.jpg')
    write('2.jpg', exif=exif)  # shown as 4x6
    settings = dict(test_mode=test_mode, allow_missing_classes=True)
    with pytest.raises(InputError, match=r'2\.png has 4x6 pixels and its image .*2\.jpg has 6x4'):
        build(**settings)[1]
    write('2.jpg', size=(4, 6), exif=exif)
    assert build(**settings)[1]['data_samples'].gt_sem_seg.shape == (6, 4)


def test_ids_of_more_than_eight_bits(write, build, tmp_path):
    write('1.jpg')
    Image.fromarray(np.full((4, 6), 256, np.uint16)).save(tmp_path / 'masks/1.png')
    with pytest.raises(InputError, match=r'1\.png has the class ids 256'):
        build(allow_missing_classes=True)[0]
    (tmp_path / 'masks/1.png').unlink()
    Image.fromarray(np.full((4, 6), -255, np.int32)).save(tmp_path / 'masks/1.tif')  # 1 in uint8
    with pytest.raises(InputError, match=r'1\.tif has the class ids -255'):
        build(allow_missing_classes=True)[0]


def test_jpeg_masks(write, build, tmp_path):
    write('1.jpg', mask='1.jpg')
    with pytest.raises(InputError, match=r'masks are missing, such as .*JPEG files, which do not'):
        build()
    (tmp_path / 'masks/1.jpg').rename(tmp_path / 'masks/1.png')
    with pytest.raises(InputError, match=r'1\.png is a JPEG, which does not keep'):
        build()
    (tmp_path / 'masks/1.png').rename(tmp_path / 'masks/1_gt.png')
    with pytest.raises(InputError, match=r"there is 1_gt\.png: .* seg_map_suffix to '_gt\.png'"):
        build()


def test_images_without_masks(write, build):
    write('1.jpg')
    with pytest.raises(InputError, match=r'no masks to learn from: set data_prefix.seg_map_path'):
        build(masks=None)
    dataset = build(masks=None, test_mode=True)
    assert 'gt_sem_seg' not in dataset[0]['data_samples']
    with pytest.raises(InputError, match='no masks to evaluate with'):
        dataset.prepare_metric(IoUMetric(), [dataset])
    dataset.prepare_metric(IoUMetric(format_only=True, output_dir=None), [dataset])


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('kite', r"the text 'kite': write a tuple of names, \('kite',\)"),
        (('a', 'b', 'a'), "has 'a' twice"),
        ((), 'is empty'),
        ((1, 2), 'write a tuple of names'),
    ],
)
def test_classes(write, build, classes, message):
    write('1.jpg')
    with pytest.raises(InputError, match=message):
        build(classes=classes)


@pytest.mark.parametrize('palette', [[[0, 0, 0]], 7])
def test_palette(tmp_path, palette):
    metainfo = dict(classes=('sky', 'road'), palette=palette)
    with pytest.raises(InputError, match=r'metainfo\.palette .* a color for each of the 2 classes'):
        BaseSegDataset(data_root=str(tmp_path), metainfo=metainfo)


def test_blur_equals_that_of_mmpretrain():
    ours = GaussianBlur(max_radius=1, prob=0.5)
    theirs = MMPretrainGaussianBlur(magnitude_range=(0, 1), magnitude_std='inf', prob=0.5)
    changed = 0
    for seed in range(20):
        image = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
        blurred, drawn = [], []
        for transform in (ours, theirs):
            np.random.seed(seed)
            blurred.append(transform(dict(img=image.copy()))['img'])
            drawn.append(np.random.rand())  # what follows is drawn alike
        assert np.array_equal(*blurred) and drawn[0] == drawn[1]
        changed += not np.array_equal(image, blurred[0])
    assert 5 < changed < 15
