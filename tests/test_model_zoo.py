import json
import re

import pytest
from conftest import ROOT

from edgenext_mm.analysis import reproduction


@pytest.mark.slow
def test_pages_are_up_to_date(run_tool, tmp_path):
    for tool, page in (
        (('make_model_zoo.py',), 'model_zoo.md'),
        (('reproduce.py', 'all'), 'reproduction.md'),
    ):
        run_tool(*tool, '--out', tmp_path / page)
        assert (ROOT / 'docs' / page).read_text() == (tmp_path / page).read_text(), (
            f'run python tools/{" ".join(tool)} --out docs/{page}'
        )
    # Sizes are the paper's within 3%, or a note says why not.
    for row in re.findall(r'^\| \[`(.*) \|$', (tmp_path / 'reproduction.md').read_text(), re.M):
        *_, parameters, ours, multiply_adds, ours_too, _, _, note = row.split(' | ')
        if parameters and not note:
            assert float(ours) == pytest.approx(float(parameters), rel=0.03), row
            assert float(ours_too) == pytest.approx(float(multiply_adds), rel=0.03), row


def test_results_of_runs(run_tool, tmp_path, monkeypatch, capsys):
    """The best validation of a run, and in words what is not known."""
    monkeypatch.setattr(reproduction, 'complexity_of', lambda config, size: (1.0, 2.0))

    def log(name, *rows):
        folder = tmp_path / 'runs' / name / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / 'scalars.json').write_text('\n'.join(lines))

    metric = 'coco/bbox_mAP'
    log('ssdlite_edgenext_small_coco', *({metric: x, 'step': s} for x, s in ((0.3, 5), (0.2, 200))))
    log('ssdlite_edgenext_x_small_coco', {'loss': 1.0, 'iter': 50}, {metric: 0.211, 'step': 5})
    log('ssdlite_edgenext_xx_small_coco', {'loss': 1.0, 'iter': 50})
    log('ssdlite_mobilenet_v2_coco', '{"coco/bbo', {metric: 0.2, 'step': 5})
    (tmp_path / 'runs' / 'ssdlite_mobilevit_small_coco').mkdir()
    run_tool('reproduce.py', '3', '--work-dirs', tmp_path / 'runs')
    said = capsys.readouterr().out
    for config, result in {
        'detection/ssdlite_edgenext_small_coco': '30.0',
        'detection/ssdlite_edgenext_small_bn_hs_coco': 'not run',
        'detection/ssdlite_edgenext_x_small_coco': '21.1 (after 5 of 200)',
        'detection/ssdlite_edgenext_xx_small_coco': 'unknown: the log of ',
        'peers/ssdlite_mobilenet_v2_coco': 'unknown: line 1 of ',
        'peers/ssdlite_mobilevit_small_coco': 'unknown: ',
    }.items():
        (row,) = (line for line in said.splitlines() if f'(../configs/{config}.py)' in line)
        _, _, here, *_, hours, command, _ = row.split(' | ')
        assert here == result if result[0] != 'u' else here.startswith(result), row
        assert hours == '113' and command == f'`tools/dist_train.sh configs/{config}.py 4`'
    assert '## Table 3' in said and '## Table 4' not in said
