"""tools/analysis/plot_run.py, on logs as the runs write them."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from edgenext_mm.analysis import curves
from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.errors import InputError


@pytest.fixture
def runs(tmp_path):
    """Two work directories, of which one has not validated."""
    for name, rate in (('one', 1), ('two', 2)):
        folder = tmp_path / name / '20260101_000000/vis_data'
        folder.mkdir(parents=True)
        rows = [
            dict(iter=i, epoch=1, lr=0.1 / i, loss=rate / i, loss_cls=rate / i / 2, time=1.0)
            for i in range(1, 9)
        ]
        rows += [{'step': i, 'coco/bbox_mAP': 0.1 * i} for i in (1, 2) if name == 'one']
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    return tmp_path / 'one', tmp_path / 'two'


def test_a_panel_for_each_curve(runs, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, 'render', lambda figure, *path: drawn.append(figure) or b'')
    curves.draw_runs(runs, tmp_path / 'a.png')
    axes = {one.get_title(): one for one in drawn[0].axes}
    assert [*axes] == ['loss', 'loss_cls', 'lr', 'coco/bbox_mAP']
    first, second = axes['loss'].lines
    assert first.get_ydata()[:2].tolist() == [1, 0.5] and second.get_ydata()[0] == 2
    assert axes['coco/bbox_mAP'].lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.2]]
    assert [axes[name].get_xlabel() for name in ('lr', 'coco/bbox_mAP')] == ['iteration', 'epoch']
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ['one', 'two']


def test_picture_and_page(runs, run_tool, tmp_path):
    run_tool('analysis/plot_run.py', *runs)
    assert np.array(Image.open(tmp_path / 'one/curves.png')).std() > 5
    run_tool('analysis/plot_run.py', *runs, '--out', 'runs.html')
    page = (tmp_path / 'runs.html').read_text()
    assert 'src="data:image/png;base64,iVBOR' in page and '<td>two</td><td>0.25</td>' in page
    assert not re.search('https?:|<script|<link', page)


def test_refuses_what_is_not_logged(runs, tmp_path):
    with pytest.raises(InputError, match='validated with mIoU: coco/bbox_mAP is in the logs'):
        curves.draw_runs(runs, tmp_path / 'a.png', ['mIoU'])
    with pytest.raises(InputError, match=r'a\.txt cannot be written'):
        curves.draw_runs(runs, tmp_path / 'a.txt')


def test_log_that_a_kill_has_cut(runs):
    """Its last line is left out, and said; a damaged one before is not."""
    (log,) = runs[1].glob('*/vis_data/scalars.json')
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(''.join(lines)[:-9])
    with pytest.warns(UserWarning, match=r'line 8 of .*two.*scalars\.json is cut and left out'):
        train, _ = read_scalars(runs[1])
    assert [*train] == [*range(1, 8)]
    log.write_text(''.join([lines[0][:-9] + '\n', *lines[1:]]))
    with pytest.raises(InputError, match=r'line 1 of .*scalars\.json is damaged'):
        read_scalars(runs[1])
