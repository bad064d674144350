"""tools/analysis/error_analysis.py: errors that are worked out by hand, and whole test sets."""

import json

import numpy as np
import pytest
import torch
from small_networks import ARCH, TASKS, network

from edgenext_mm.analysis.error_report import ErrorReport
from edgenext_mm.analysis.label_errors import ImageErrors, PixelErrors
from edgenext_mm.analysis.object_errors import evaluate, find_object_errors
from edgenext_mm.analysis.tide import average_precision, matches, sort_errors
from edgenext_mm.datasets.detection.coco_metric import to_api

SQUARE = (0, 0, 10, 10)


def truth(*objects, images=2):
    """Annotations of classes 1 and 2: image, class, x1 y1 x2 y2, whether it is a crowd."""
    annotations = [
        dict(
            id=key,
            image_id=image,
            category_id=category,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            area=(x2 - x1) * (y2 - y1),
            iscrowd=int(bool(crowd)),
        )
        for key, (image, category, (x1, y1, x2, y2), *crowd) in enumerate(objects, 1)
    ]
    return to_api(
        dict(
            images=[dict(id=key, width=100, height=100) for key in range(1, images + 1)],
            categories=[dict(id=1, name='a'), dict(id=2, name='b')],
            annotations=annotations,
        )
    )


@pytest.fixture
def by_hand():
    """Two images with an error of each kind."""
    api = truth(
        (1, 1, SQUARE),
        (1, 2, (50, 50, 70, 70)),
        (1, 1, (80, 0, 90, 10)),
        (2, 2, SQUARE),
        (2, 1, (60, 60, 70, 70)),
        (2, 1, (30, 60, 40, 70)),
        (2, 1, (80, 80, 99, 99), 'crowd'),
    )
    boxes = [
        (1, 1, SQUARE, 0.9),
        (1, 1, SQUARE, 0.8),  # again
        (1, 1, (50, 50, 70, 70), 0.7),  # in truth of class 2
        (1, 1, (80, 0, 90, 4), 0.6),  # IoU 0.4
        (1, 2, (20, 20, 25, 25), 0.5),  # nothing
        (2, 1, (0, 0, 10, 3), 0.35),  # IoU 0.3 with an object of class 2
        (2, 1, (30, 60, 40, 70), 0.3),
        (2, 1, (80, 80, 99, 99), 0.25),  # in a crowd, which is ignored
    ]
    return api, boxes


def test_object_errors(by_hand):
    report = find_object_errors(*by_hand, ['a', 'b'], [1, 2], {1: 'one.jpg', 2: 'two.jpg'})
    # AP of class a: 26 recalls at a precision of 1, 25 at 2 of 6; of class b 0.
    now = 26 + 25 / 3
    gains = dict(
        classification=36 + 51 - now,
        localisation=51 - now,
        both=36 - now,
        duplicate=36 - now,
        background=0,
        missed=45 - now,
    )
    rows = report.tables['Errors at IoU 0.5']
    assert {row['kind']: row['count'] for row in rows} == dict.fromkeys(gains, 1) | {'missed': 2}
    for row in rows:
        assert row['dAP'] == pytest.approx(gains[row['kind']] / 202, abs=1e-6), row
    a, b, mean = report.tables['Classes']
    assert (a['objects'], b['objects'], mean['objects']) == (4, 2, 6)
    assert a['AP50'] == pytest.approx(now / 101, abs=1e-6) and b['AP50'] == 0
    assert mean['AP50'] == pytest.approx(now / 202, abs=1e-6)
    small, medium, large = report.tables['Sizes']
    assert (small['objects'], small['found'], medium['objects']) == (6, 2, 0)
    assert large['AP'] is None
    assert report.names == ['a', 'b', 'background']
    assert report.confusion.tolist() == [[2, 0, 2], [1, 0, 1], [3, 1, 0]]
    assert report.tables['Worst images first'] == [
        dict(image='one.jpg', errors=5, missed=1, background=3),
        dict(image='two.jpg', errors=3, missed=2, background=1),
    ]
    assert '| classification | 1 | 0.261 |' in report.text()
    assert json.loads(report.as_json())['confusion']['matrix'][2] == [3, 1, 0]


def test_one_object_is_put_right_once(by_hand):
    api, _ = by_hand
    near = [(1, 1, (80, 0, 90, 4), score) for score in (0.9, 0.8)]
    errors = sort_errors([*matches(evaluate(api, near, [1, 2], [1, 2]))])
    assert errors.kinds.tolist() == ['localisation'] * 2
    # Of 4 objects one is then found by the one box that stays: 26 of 101 recalls.
    assert errors.without('localisation') == pytest.approx(26 / 202)


def test_no_detection_and_ids_in_another_order():
    api = truth((1, 1, SQUARE), (2, 2, SQUARE))
    report = find_object_errors(api, [], ['b', 'a'], [2, 1], {1: 'one.jpg', 2: 'two.jpg'})
    assert report.names == ['a', 'b', 'background']
    assert report.confusion.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert report.tables['Classes'][2]['AP'] == 0


def test_same_ap_as_coco():
    rng = np.random.default_rng(0)

    def box():
        x, y = rng.integers(0, 60, 2)
        return x, y, x + rng.integers(5, 40), y + rng.integers(5, 40)

    objects = [(int(rng.integers(1, 9)), int(rng.integers(1, 3)), box()) for _ in range(60)]
    api = truth(*objects, images=8)
    boxes = [
        (image, category if rng.random() < 0.8 else 3 - category, place, round(rng.random(), 1))
        for image, category, place in objects
        for place in (place, np.add(place, rng.integers(-6, 7, 4)), box())
        if place[2] > place[0] and place[3] > place[1]
    ]
    evaluation = evaluate(api, boxes, [1, 2], [*range(1, 9)])
    errors = sort_errors([*matches(evaluation)])
    for label in (0, 1):
        chosen = errors.labels == label
        ours = average_precision(
            errors.scores[chosen], errors.kinds[chosen] == '', (errors.object_labels == label).sum()
        )
        theirs = evaluation.eval['precision'][0, :, label, 0, -1].mean()
        assert 0 < ours == pytest.approx(theirs, abs=1e-9)
    names = set(errors.kinds)
    assert names == {'', 'localisation', 'classification', 'duplicate', 'background', 'both'}


def test_pixel_errors():
    metric = PixelErrors()
    metric.dataset_meta = dict(classes=('sky', 'cat'))
    labels, mask = torch.zeros(2, 1, 40, 40, dtype=torch.long), torch.zeros(2, 1, 40, 40).long()
    labels[0, :, :10, :10] = 1  # found by half
    mask[0, :, :10, :5] = 1
    labels[0, :, 39] = 255
    mask[1, :, 0, :4] = 1  # nothing
    samples = [
        dict(img_path=f'{i}.jpg', gt_sem_seg=dict(data=labels[i]), pred_sem_seg=dict(data=mask[i]))
        for i in range(2)
    ]
    metric.process({}, samples)
    metric.compute_metrics(metric.results)
    report = metric.report
    assert report.confusion.tolist() == [[1460 + 1596, 4], [50, 50]]
    sky, cat, mean = report.tables['Classes']
    assert cat == dict({'class': 'cat'}, pixels=100, IoU=pytest.approx(50 / 104), recall=0.5)
    assert mean['IoU'] == pytest.approx((sky['IoU'] + cat['IoU']) / 2)
    small, medium, _ = report.tables['Regions by size']
    assert (small['regions'], small['found']) == (1, 0.5)
    assert (medium['regions'], medium['found']) == (2, pytest.approx((1 + 1596 / 1600) / 2))
    worst = report.tables['Worst images first']
    assert [row['image'] for row in worst] == ['1.jpg', '0.jpg']
    assert worst[0]['mIoU'] == pytest.approx(1596 / 1600 / 2)


def test_image_errors():
    metric = ImageErrors()
    metric.dataset_meta = dict(classes=('cat', 'dog', 'cow'))
    scores = torch.tensor([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.6, 0.1, 0.3]])
    metric.process(
        {},
        [
            dict(img_path=f'{i}.jpg', gt_label=torch.tensor([label]), pred_score=scores[i])
            for i, label in enumerate([0, 1, 1])
        ],
    )
    metric.compute_metrics(metric.results)
    cat, dog, cow = metric.report.tables['Classes']
    assert (cat['recall'], cat['precision']) == (1, pytest.approx(1 / 3, abs=1e-6))
    assert (dog['images'], dog['recall'], dog['precision']) == (2, 0, None)
    assert (cow['recall'], cow['precision']) == (None, None)
    worst = metric.report.tables['Worst images first']
    assert [row['image'] for row in worst] == ['2.jpg', '1.jpg']
    assert metric.report.confusion.tolist() == [[1, 0, 0], [2, 0, 0], [0, 0, 0]]


def test_long_tables_are_shortened():
    rows = [dict(image=str(i)) for i in range(12)]
    tables = {'Worst images first': rows, 'Classes': rows}
    text = ErrorReport(['a'], np.zeros((1, 1), int), tables).text()
    assert text.count('\nand 2 more') == 1 and text.count('| 11 |') == 1


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_test_set_of_a_config(run_tool, demo_data, tmp_path, capsys, task):
    config, settings = TASKS[task]
    model = dict(settings, backbone=dict(arch=dict(_delete_=True, **ARCH)))
    (tmp_path / 'config.py').write_text(f'_base_ = {str(config)!r}\nmodel = {model!r}\n')
    torch.save(dict(state_dict=network(task).state_dict()), tmp_path / 'a.pth')
    run_tool(
        *('analysis/error_analysis.py', 'config.py', 'a.pth', '--json', 'a.json'),
        *('--cfg-options', 'test_dataloader.num_workers=0'),
    )
    found = json.loads((tmp_path / 'a.json').read_text())
    assert '| class | ' in capsys.readouterr().out
    if task == 'detection':
        annotated = json.loads((demo_data / 'annotations/instances_val2017.json').read_text())
        assert found['Classes'][-1]['objects'] == len(annotated['annotations'])
    elif task == 'classification':
        assert np.sum(found['confusion']['matrix']) == sum(1 for _ in _lines(demo_data))
    else:
        assert len(found['Worst images first']) == 8
        assert sum(row['regions'] for row in found['Regions by size']) > 8


def _lines(demo_data):
    return (demo_data / 'imagenet/meta/val.txt').open()
