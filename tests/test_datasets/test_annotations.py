"""COCO's JSON and VOC's XML as people have them: used, left out and counted, or refused by name."""

import codecs
import copy
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from edgenext_mm.datasets.annotations import OUTSIDE, read_coco, read_voc
from edgenext_mm.datasets.report import Report
from edgenext_mm.errors import InputError

CLEAN = dict(
    images=[
        dict(id=1, file_name='a.jpg', width=64, height=48),
        dict(id=2, file_name='b.jpg', width=64, height=48),
    ],
    categories=[dict(id=1, name='cat'), dict(id=7, name='dog')],
    annotations=[
        dict(id=3, image_id=1, category_id=1, bbox=[10, 10, 20, 20], area=300, iscrowd=0),
        dict(id=4, image_id=2, category_id=7, bbox=[5.5, 6, 8.25, 9], area=70.5, iscrowd=1),
    ],
)


@pytest.fixture
def folder(tmp_path):
    for name in ('a', 'b'):
        Image.new('RGB', (64, 48)).save(tmp_path / f'{name}.jpg')
    return tmp_path


@pytest.fixture
def read(folder):
    """Read a file with this content, or these bytes, and return the content and the report."""

    def read(content):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        (folder / 'train.json').write_bytes(content)
        report = Report('train.json')
        return read_coco(folder / 'train.json', str(folder), report), report

    return read


@pytest.fixture
def edited(read):
    """Read the clean file with changes to its first annotation, image and category."""

    def read_edited(*drop, image=(), category=(), **changes):
        content = copy.deepcopy(CLEAN)
        content['annotations'][0].update(changes)
        content['images'][0].update(image)
        content['categories'][0].update(category)
        for key in drop:
            for entry in (content['annotations'][0], content['images'][0]):
                entry.pop(key, None)
        return read(content)

    return read_edited


def test_clean_file_is_returned_as_it_is(read, folder):
    for image in folder.glob('*.jpg'):
        image.unlink()  # no image is opened
    content, report = read(CLEAN)
    assert content == CLEAN and not report


SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
RLE = coco_mask.encode(np.asfortranarray(np.pad(np.ones((20, 20), np.uint8), ((10, 18), (10, 34)))))
RLE['counts'] = RLE['counts'].decode()


@pytest.mark.parametrize(
    ('drop', 'changes', 'expected', 'kind'),
    [
        (['area'], {}, dict(area=400), 'areas that are missing'),
        ([], dict(area=0), dict(area=400), 'areas that are missing'),
        ([], dict(area=-5), dict(area=400), 'areas that are missing'),
        ([], dict(area=None), dict(area=400), 'areas that are missing'),
        ([], dict(area=float('nan')), dict(area=400), 'areas that are missing'),
        ([], dict(area='300.5'), dict(area=300.5), 'numbers written as text'),
        (['iscrowd'], {}, dict(iscrowd=0), 'iscrowd'),
        ([], dict(iscrowd=None), dict(iscrowd=0), 'iscrowd'),
        ([], dict(iscrowd='1'), dict(iscrowd=1), 'numbers written as text'),
        ([], dict(iscrowd=False), dict(iscrowd=0), ''),
        ([], dict(bbox=['10', ' 10.0', '2e1', '20']), dict(bbox=[10, 10, 20, 20]), 'as text'),
        (['bbox'], dict(segmentation=SQUARE), dict(bbox=[10, 10, 20, 20]), 'boxes that are mis'),
        ([], dict(bbox=None, segmentation=RLE), dict(bbox=[10, 10, 20, 20]), 'boxes that are mis'),
        ([], dict(bbox=[50, 40, 30, 30]), dict(bbox=[50, 40, 14, 8], area=112), 'reach beyond'),
        ([], dict(image_id='1', category_id='1'), dict(image_id=1, category_id=1), 'as text'),
        ([], dict(image_id=1.0), dict(image_id=1), ''),
        ([], dict(id=4), {}, 'annotation ids'),
        ([], dict(id=0), dict(id=5), 'annotation ids'),  # pycocotools takes 0 for no match
        ([], dict(id='a'), dict(id=5), 'annotation ids'),
        ([], dict(id=10**400), dict(id=5), 'annotation ids'),  # pycocotools makes a float of it
        ([], dict(ignore='0'), dict(iscrowd=0), 'numbers written as text'),
        ([], dict(ignore=1), dict(iscrowd=1), 'marked as ignored'),  # the metric knows crowds alone
    ],
)
def test_one_obvious_meaning_is_used(edited, drop, changes, expected, kind):
    content, report = edited(*drop, **changes)
    annotation = content['annotations'][0]
    assert {key: annotation[key] for key in expected} == expected
    assert len({item['id'] for item in content['annotations']}) == 2
    assert any(kind in found for found in report.counts('used')) or not kind
    assert not report.counts('left out')


@pytest.mark.parametrize('size', [{}, dict(height=0), dict(width=None), dict(height=float('nan'))])
def test_missing_size_is_read_from_the_image(edited, folder, size):
    drop = () if size else ('height', 'width')
    image = edited(*drop, image=size)[0]['images'][0]
    assert (image['height'], image['width']) == (48, 64)
    (folder / 'a.jpg').unlink()
    with pytest.raises(InputError, match=r'a\.jpg cannot be read as an image'):
        edited(*drop, image=size)
    assert edited(image=dict(height='48', width=64.0))[0]['images'][0]['height'] == 48


@pytest.mark.parametrize(
    ('changes', 'kind'),
    [
        (dict(bbox=[10, 10, 0, 20]), 'boxes without an area'),
        (dict(bbox=[10, 10, 0, 0]), 'boxes without an area'),
        (dict(bbox=[64, 10, 9, 9]), 'boxes outside of their image'),
        (dict(bbox=[-30, 10, 9, 9]), 'boxes outside of their image'),
        (dict(bbox=[64.5, 10, 0.4, 9]), 'boxes outside of their image'),
        (dict(image_id=99), 'annotations of images that are not listed'),
    ],
)
def test_left_out_with_names(edited, changes, kind):
    content, report = edited(**changes)
    assert [item['id'] for item in content['annotations']] == [4]
    (item,) = report.items
    assert (item.kind, item.id, item.action) == (kind, 3, 'left out')


@pytest.mark.parametrize(
    ('drop', 'changes', 'message'),
    [
        (['bbox'], {}, 'annotation 3 has no bbox'),
        ([], dict(bbox=None), 'annotation 3 has the bbox None'),
        ([], dict(bbox=[]), r'annotation 3 has the bbox \[\]'),
        ([], dict(bbox=[1, 2, 3]), r'annotation 3 has the bbox \[1, 2, 3\]'),
        ([], dict(bbox=[1, 2, 3, 'x']), 'annotation 3 has the bbox'),
        ([], dict(bbox=[1, 2, 3, float('nan')]), 'annotation 3 has the bbox'),
        ([], dict(bbox=[1, 2, 3, 10**400]), 'annotation 3 has the bbox'),
        ([], dict(bbox=dict(x=1)), 'annotation 3 has the bbox'),
        ([], dict(bbox=[30, 30, -20, 20]), r'annotation 3 has the bbox \[30, 30, -20, 20\]'),
        ([], dict(bbox=None, segmentation=[[1, 2, 'x']]), 'annotation 3 has the bbox None'),
        ([], dict(bbox=None, segmentation=dict(RLE, size=[64, 48])), 'annotation 3 has the bbox'),
        ([], dict(bbox=None, segmentation=dict(RLE, counts=[9, 9])), 'annotation 3 has the bbox'),
        ([], dict(iscrowd=2), 'annotation 3 has the iscrowd 2'),
        ([], dict(category_id=5), 'annotation 3 has the category_id 5, which none of the 2'),
        ([], dict(category_id=[1]), r'annotation 3 has the category_id \[1\]'),
        (['image_id'], {}, 'annotation 3 has no image_id'),
        ([], dict(image=dict(id=2)), 'image 2 is both a.jpg and b.jpg'),
        ([], dict(image=dict(id=None)), 'image 1 of the list has the id None'),
        ([], dict(image=dict(id='one')), "the ids of images are numbers but for some, .* 'one'"),
        (['file_name'], {}, 'image 1 has no file_name'),
        ([], dict(image=dict(file_name='a\0.jpg')), 'image 1 has the file_name'),
        ([], dict(image=dict(file_name='\ud800.jpg')), 'image 1 has the file_name'),
        ([], dict(image=dict(width=128), bbox=[80, 1, 60, 9]), r'a\.jpg has 48x64 .* says 48x128'),
        ([], dict(category=dict(id=7)), "category 7 is both 'cat' and 'dog'"),
        ([], dict(category=dict(name='dog')), "categories 1 and 7 are both 'dog'"),
        ([], dict(category=dict(name=None)), 'category 1 has the name None'),
    ],
)
def test_contradiction_is_refused_by_name(edited, drop, changes, message):
    with pytest.raises(InputError, match=message) as error:
        edited(*drop, **changes)
    assert '\n' not in str(error.value)


def test_twins(read):
    content = copy.deepcopy(CLEAN)
    content['images'].append(dict(content['images'][0]))
    content['annotations'].append(dict(content['annotations'][0]))
    content['categories'].append(dict(id=9, name='dog'))  # as Roboflow writes for the group
    found, report = read(content)
    assert [len(found[key]) for key in ('images', 'annotations', 'categories')] == [2, 2, 2]
    assert sum(report.counts('used').values()) == 2 and sum(report.counts('left out').values()) == 1


def test_units_and_form_of_boxes(read):
    def boxes(*values):
        content = copy.deepcopy(CLEAN)
        content['annotations'] = [
            dict(id=key, image_id=1, category_id=1, bbox=box) for key, box in enumerate(values, 1)
        ]
        return content

    with pytest.raises(InputError, match=r'all 2 boxes lie between 0 and 1.*multiply'):
        read(boxes([0.15, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]))
    with pytest.raises(InputError, match='look like corners'):
        read(boxes([40, 30, 60, 45], [30, 20, 60, 40], [1, 1, 9, 9]))
    read(boxes([40, 30, 60, 45], [30, 20, 60, 40], [30, 1, 9, 9]))  # the last is no pair of corners
    content, report = read(boxes([70, 1, 80, 9], [1, 50, 9, 60]))  # of larger images
    assert not content['annotations'] and report.counts('left out')[OUTSIDE] == 2


def test_names_in_another_spelling(edited, folder):
    (folder / 'a.jpg').rename(folder / 'ü.JPG')
    for name in ('ü.jpg', 'ü.JPG ', 'ü.png', 'ü', 'u\u0308.JPG', '.\\ü.JPG'):
        content, report = edited(image=dict(file_name=name))
        assert content['images'][0]['file_name'] == 'ü.JPG'
        assert report.counts('used') == {'file names in another spelling': 1}
    Image.new('L', (2, 2)).save(folder / 'ü.png')
    assert edited(image=dict(file_name='ü.png'))[0]['images'][0]['file_name'] == 'ü.png'
    with pytest.raises(InputError, match='have the same name but for the suffix'):
        edited(image=dict(file_name='ü.gif'))


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32-le'])
def test_encodings(read, encoding):
    content = copy.deepcopy(CLEAN)
    content['categories'][0]['name'] = 'Kätzchen'
    found, _ = read(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert found['categories'][0]['name'] == 'Kätzchen'


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'it is empty'),
        (codecs.BOM_UTF8, ''),
        (b'[]', 'holds a list, as a file of results'),
        (b'3', 'holds a int'),
        (b'{"images": []}', 'its list of images is empty'),
        (b'{"images": [{}], "categories": {}}', 'no list of categories'),
        (b'{"images": [3], "categories": []}', 'no list of images'),
        (json.dumps(dict(CLEAN, categories=[])).encode(), 'list of categories is empty'),
        (json.dumps(CLEAN).encode()[:-40], 'Expecting'),
        ('{"images": "é"}'.encode('latin-1'), "can't decode"),
        (b'[' * 100_000, ''),
        (b'\x1f\x8b\x08', 'packed by gzip: unpack it'),
        (b'version https://git-lfs.github.com/spec/v1', 'a pointer of Git LFS'),
        (b'{"images": ' + b'9' * 5000 + b'}', 'digits'),
        (b'{"images": [], "images": []}', "'images' is there twice"),
    ],
)
def test_no_whole_file(read, content, reason):
    with pytest.raises(InputError, match=rf'train\.json is not a whole file .*{reason}') as error:
        read(content)
    assert len(str(error.value)) < 500


OBJECT = """<object><name> cat </name><difficult>0</difficult><bndbox><xmin>10</xmin>
<ymin>10</ymin><xmax>30</xmax><ymax>31.5</ymax></bndbox></object>"""
XML = f"""<annotation><filename>a.png</filename><size><width>64</width><height>48</height>
<depth>3</depth></size>{OBJECT}</annotation>"""


def test_xml(tmp_path):
    path = tmp_path / '1.xml'

    def read(text, encoding='utf-8'):
        path.write_bytes(text.encode(encoding))
        return read_voc(path)

    found = read(XML)
    assert found.size == (48, 64) and found.filename == 'a.png'
    assert found.objects[0][1:] == ('cat', (10, 10, 30, 31.5), 0)
    assert read(XML.replace('64', '64.0')).size == (48, 64)
    for size in ('<height>0', '<height>', '<h>'):
        assert read(XML.replace('<height>48', size).replace('<h></height>', '<h></h>')).size is None
    for text in ('', 'false'):
        assert read(XML.replace('<difficult>0', f'<difficult>{text}')).objects[0].difficult == 0
    assert read(XML.replace('<difficult>0', '<difficult>true')).objects[0].difficult == 1
    for encoding in ('utf-8-sig', 'gb2312', 'latin-1', 'utf-16'):
        named = XML.replace('cat', '猫' if encoding == 'gb2312' else 'cât')
        declared = encoding.removesuffix('-sig')
        text = f'<?xml version="1.0" encoding="{declared}"?>{named}'
        assert read(text, encoding).objects[0].name in ('猫', 'cât')
    composed = XML.replace('cat', '猫ca\u0302t')
    for declared in ('utf-16', 'gb2312'):  # which it is not
        for encoding in ('utf-8', 'utf-8-sig', 'utf-16'):
            text = f'<?xml version="1.0" encoding="{declared}"?>{composed}'
            assert read(text, encoding).objects[0].name == '猫cât'
    for other in (
        XML.replace('<annotation>', '<annotation xmlns="https://example.org">'),
        XML.replace('xmin', 'Xmin').replace('annotation>', 'Annotation>'),
        XML.replace(OBJECT, f'<objects>{OBJECT}</objects>'),
    ):
        assert read(other) == found


@pytest.mark.parametrize(
    ('old', 'new', 'reason'),
    [
        ('<xmax>30', '<xmax>9', 'object 1.*corners exchanged: 10, 10, 9'),
        ('<xmin>10</xmin>', '', 'object 1.*has no xmin'),
        ('<xmin>10', '<xmin>nan', "object 1.*has the xmin 'nan'"),
        ('<name> cat ', '<name>', 'object 1 has no name'),
        (OBJECT, '<object/>', 'object 1 has no name'),
        ('bndbox', 'robndbox', 'object 1.*has no bndbox'),
        ('object>', 'item>', 'a bndbox that belongs to no object'),
        (XML, '<!DOCTYPE html><p>', 'it is a web page'),
        ('<difficult>0', '<difficult>2', 'object 1.*difficult'),
        ('<width>64', '<width>x', 'its size is'),
        ('annotation>', 'html>', 'its root is <html>'),
        ('</annotation>', '', ''),
    ],
)
def test_bad_xml(tmp_path, old, new, reason):
    path = tmp_path / '1.xml'
    path.write_text(XML.replace(old, new))
    with pytest.raises(InputError, match=rf'1\.xml is not a whole annotation of VOC .*{reason}'):
        read_voc(path)
