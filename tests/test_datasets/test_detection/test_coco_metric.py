"""What is loaded and measured is what mmdet and pycocotools say, and on other data an error."""

import json
import math

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.evaluation.metrics import CocoMetric as MMDetCocoMetric
from PIL import Image
from pycocotools import mask as coco_mask

from edgenext_mm.datasets import CocoDataset, CocoMetric, XMLDataset
from edgenext_mm.errors import InputError

CLASSES = ('cat', 'dog', 'kite')


@pytest.fixture
def data(tmp_path):
    """Images with objects, crowds as RLE, polygons, boxes at the border and none."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    images, annotations = [], []
    for key in range(1, 13):
        Image.new('RGB', (96, 64)).save(tmp_path / f'images/{key}.jpg')
        images.append(dict(id=key, file_name=f'{key}.jpg', width=96, height=64))
        for _ in range(rng.integers(0, 5)):
            x, y = rng.uniform(0, 60, 2).round(2).tolist()
            w, h = np.minimum(rng.uniform(0.5, 50, 2), (96 - x, 64 - y)).tolist()
            item = dict(
                id=len(annotations) + 1, image_id=key, category_id=int(rng.choice([3, 5, 8, 9]))
            )
            item.update(bbox=[x, y, w, h], area=w * h * 0.7, iscrowd=int(rng.random() < 0.2))
            item['segmentation'] = [[x, y, x + w, y, x + w, y + h]]
            if item['iscrowd']:
                rle = coco_mask.merge(coco_mask.frPyObjects(item['segmentation'], 64, 96))
                item['segmentation'] = dict(size=[64, 96], counts=rle['counts'].decode())
            annotations.append(item)
    names = {3: 'cat', 5: 'dog', 8: 'kite', 9: 'zebra'}
    categories = [dict(id=key, name=name) for key, name in names.items()]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'val.json').write_text(json.dumps(content))
    return tmp_path


def build(data, cls=CocoDataset, ann_file='val.json', **settings):
    settings = {'test_mode': True, 'metainfo': dict(classes=CLASSES), **settings}
    return cls(data_root=str(data), ann_file=ann_file, data_prefix=dict(img='images'), **settings)


def predictions(dataset, noise=4):
    generator = torch.Generator().manual_seed(0)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        boxes = torch.tensor([item['bbox'] for item in info['instances']]).reshape(-1, 4)
        boxes = boxes + noise * torch.randn(boxes.shape, generator=generator)
        labels = torch.tensor([item['bbox_label'] for item in info['instances']], dtype=torch.int64)
        scores = torch.rand(len(boxes), generator=generator)
        yield dict(
            img_id=info['img_id'],
            ori_shape=(info['height'], info['width']),
            instances=info['instances'],
            pred_instances=dict(bboxes=boxes, scores=scores, labels=labels),
        )


def evaluate(metric, dataset, results):
    metric.dataset_meta = dataset.metainfo
    metric.process({}, list(results))
    return metric.evaluate(len(dataset))


def same(one, other):
    return one.keys() == other.keys() and all(
        one[key] == other[key] or (math.isnan(one[key]) and math.isnan(other[key])) for key in one
    )


@pytest.mark.parametrize('settings', [dict(), dict(test_mode=False)])
@pytest.mark.parametrize('filter_cfg', [None, dict(filter_empty_gt=True, min_size=32)])
def test_loads_what_mmdet_loads(data, settings, filter_cfg):
    ours = build(data, filter_cfg=filter_cfg, **settings)
    theirs = build(data, MMDetCocoDataset, filter_cfg=filter_cfg, **settings)
    assert len(ours) == len(theirs) > 5
    assert all(ours.get_data_info(i) == theirs.get_data_info(i) for i in range(len(ours)))
    content = json.loads((data / 'val.json').read_text())
    counts = ours.report.counts('left out')
    thin = [a for a in content['annotations'] if min(a['bbox'][2:]) < 1]
    rest = [a for a in content['annotations'] if min(a['bbox'][2:]) >= 1]
    assert counts.get('boxes thinner than a pixel', 0) == len(thin)
    assert counts['objects of other classes'] == sum(a['category_id'] == 9 for a in rest) > 0
    crowds = sum(a['iscrowd'] and a['category_id'] != 9 for a in rest)
    assert counts['crowds (iscrowd 1)'] == crowds > 0


def test_measures_what_mmdet_measures(data):
    dataset = build(data)
    settings = dict(classwise=True, metric=['bbox', 'proposal'])
    ours = CocoMetric(**settings)
    dataset.prepare_metric(ours, [dataset])
    theirs = MMDetCocoMetric(ann_file=f'{data}/val.json', **settings)
    found = evaluate(ours, dataset, predictions(dataset))
    assert same(found, evaluate(theirs, dataset, predictions(dataset)))
    assert 0 < found['coco/bbox_mAP'] < 1


def test_no_prediction_is_a_metric_of_0(data):
    dataset = build(data)
    metric = CocoMetric()
    dataset.prepare_metric(metric, [dataset])
    results = list(predictions(dataset))
    for result in results:
        result['pred_instances'] = {k: v[:0] for k, v in result['pred_instances'].items()}
    assert evaluate(metric, dataset, results)['coco/bbox_mAP'] == 0


def edit(data, change, name='other.json'):
    content = json.loads((data / 'val.json').read_text())
    change(content)
    (data / name).write_text(json.dumps(content))
    return str(data / name)


def test_without_annotations():
    """As in a config of mmdet, whose hooks do not know the dataset."""
    with pytest.raises(InputError, match=r'default_hooks=dict\(data_report=.*or set ann_file'):
        CocoMetric().process({}, [dict(img_id=1, pred_instances={})])


def test_another_file_of_the_evaluator(data):
    dataset = build(data)

    def refused(change, message, cls=CocoMetric):
        metric = cls(ann_file=edit(data, change))
        with pytest.raises(InputError, match=message):
            dataset.prepare_metric(metric, [dataset])

    for cls in (CocoMetric, MMDetCocoMetric):
        refused(lambda c: c['images'].pop(2), 'has no image 3, which is .*3.jpg in the', cls)
        refused(lambda c: c['images'][0].update(file_name='x.jpg'), 'has x.jpg as the image 1', cls)
        refused(
            lambda c: c['categories'][0].update(name='x'), r"categories are \['dog', 'kite'\]", cls
        )
    more = dict(id=99, file_name='99.jpg', width=96, height=64)
    refused(lambda c: c['images'].append(more), 'has 13 images and the dataset', MMDetCocoMetric)
    corrected = edit(data, lambda c: c['annotations'].pop(0))
    dataset.prepare_metric(CocoMetric(ann_file=corrected), [dataset])


def crowds_only(content):
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1


def test_nothing_to_learn_and_nothing_to_evaluate(data):
    edit(data, crowds_only)
    with pytest.raises(InputError, match=r"of the classes to learn, 'cat'.*crowds \(iscrowd 1\)"):
        build(data, ann_file='other.json', test_mode=False)
    dataset = build(data, ann_file='other.json')
    with pytest.raises(InputError, match='has no object to find, so that nothing can be evaluated'):
        dataset.prepare_metric(CocoMetric(), [dataset])
    edit(data, lambda c: [a.update(category_id=5) for a in c['annotations']])
    with pytest.raises(InputError, match="of 2 of the 3 classes, 'cat', 'kite'"):
        build(data, ann_file='other.json', test_mode=False)
    dataset = build(data, ann_file='other.json', test_mode=False, allow_missing_classes=True)
    assert dataset.report.counts('left out')['classes that nothing belongs to'] == 2
    # COCO's own 80 classes need not all be there.
    content = edit(
        data,
        lambda c: c.update(
            categories=[
                dict(id=i, name=n) for i, n in enumerate(CocoDataset.METAINFO['classes'], 1)
            ]
        ),
    )
    assert len(build(data, ann_file=content, test_mode=False, metainfo=None)) == 12


def test_missing_class_suggests_the_nearest(data):
    with pytest.raises(InputError, match=r"such as 'Dogs' \(did you mean 'dog'\?\)"):
        build(data, metainfo=dict(classes=('cat', 'Dogs')))


def test_size_unlike_the_annotation(data):
    from mmcv.transforms import LoadImageFromFile

    Image.new('RGB', (64, 96)).save(data / 'images/2.jpg')
    dataset = build(data, pipeline=[LoadImageFromFile()])
    assert dataset[0]
    with pytest.raises(InputError, match=r'2\.jpg has 96x64 pixels and its annotation says 64x96'):
        dataset[1]


@pytest.fixture
def voc(data):
    """The same boxes as XML, images as PNG."""
    content = json.loads((data / 'val.json').read_text())
    names = {entry['id']: entry['name'] for entry in content['categories']}
    for folder in ('JPEGImages', 'Annotations'):
        (data / folder).mkdir()
    for image in content['images']:
        key = image['id']
        Image.new('RGB', (96, 64)).save(data / f'JPEGImages/{key}.png')
        objects = ''
        for item in content['annotations']:
            x, y, w, h = map(round, item['bbox'])
            corners = dict(xmin=x + 1, ymin=y + 1, xmax=x + w, ymax=y + h)
            box = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in corners.items())
            if item['image_id'] == key and w > 1 and h > 1:
                objects += f'<object><name>{names[item["category_id"]]}</name>'
                objects += (
                    f'<difficult>{item["iscrowd"]}</difficult><bndbox>{box}</bndbox></object>'
                )
        size = '<size><width>96</width><height>64</height></size>'
        text = f'<annotation><filename>{key}.jpg</filename>{size}{objects}</annotation>'
        (data / f'Annotations/{key}.xml').write_text(text)
    (data / 'all.txt').write_text('\n'.join(str(image['id']) for image in content['images']))
    return data


def build_voc(voc, **settings):
    settings = {'test_mode': True, 'metainfo': dict(classes=CLASSES), **settings}
    return XMLDataset(
        data_root=str(voc), ann_file='all.txt', data_prefix=dict(sub_data_root=''), **settings
    )


def test_xml_is_measured_as_mmdet_measures_its_boxes(voc):
    dataset = build_voc(voc)
    assert dataset.get_data_info(0)['img_path'].endswith('JPEGImages/1.png')
    ours, theirs = CocoMetric(), MMDetCocoMetric()
    dataset.prepare_metric(ours, [dataset])
    dataset.prepare_metric(theirs, [dataset])
    found = evaluate(ours, dataset, predictions(dataset))
    assert same(found, evaluate(theirs, dataset, predictions(dataset)))
    assert 0 < found['coco/bbox_mAP'] < 1
    counts = dataset.report.counts('left out')
    assert counts['objects marked as difficult'] > 0 and counts['objects of other classes'] > 0


def test_xml_boxes(voc):
    path = voc / 'Annotations/2.xml'

    def first_box(*corners):
        tags = ('xmin', 'ymin', 'xmax', 'ymax')
        box = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in zip(tags, corners, strict=False))
        path.write_text(
            f'<annotation><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>'
        )
        dataset = build_voc(voc)
        return dataset.get_data_info(1)['instances'], dataset.report

    instances, report = first_box(5, 5, 20.5, 20)
    assert instances == [dict(ignore_flag=0, bbox=[4, 4, 19, 19], bbox_label=0)]
    assert report.counts('used')['image sizes that are missing'] == 1
    for corners, kind in [
        ((10, 10, 10, 30), 'boxes without an area'),
        ((10.2, 10.2, 10.8, 10.8), 'boxes without an area'),
        ((130, 40, 150, 60), 'boxes outside of their image'),
    ]:
        instances, report = first_box(*corners)
        assert not instances and report.counts('left out')[kind] == 1
        assert any(item.file == str(path) and item.id == 1 for item in report.items)
    instances, _ = first_box(80, 40, 140, 60)
    assert instances[0]['bbox'] == [79, 39, 96, 59]
    (voc / 'JPEGImages/2.jpg').write_bytes((voc / 'JPEGImages/2.png').read_bytes())
    with pytest.raises(InputError, match=r'2\.jpg and .*2\.png have the same name'):
        build_voc(voc)
    (voc / 'JPEGImages/2.jpg').unlink()
    (voc / 'JPEGImages/2.png').unlink()
    with pytest.raises(InputError, match=r'2\.jpg does not exist, nor with another suffix: add it'):
        build_voc(voc)


def test_normalised_xml(voc):
    for path in (voc / 'Annotations').iterdir():
        corners = '<xmin>0.1</xmin><ymin>0.1</ymin><xmax>0.5</xmax><ymax>0.5</ymax>'
        text = f'<object><name>cat</name><bndbox>{corners}</bndbox></object>'
        path.write_text(f'<annotation>{text}</annotation>')
    with pytest.raises(InputError, match=r'all boxes of .*all\.txt lie between 0 and 1'):
        build_voc(voc)
