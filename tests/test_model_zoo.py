from conftest import ROOT


def test_page_is_up_to_date(run_tool, tmp_path):
    run_tool('make_model_zoo.py', '--out', tmp_path / 'page.md')
    assert (ROOT / 'docs' / 'model_zoo.md').read_text() == (tmp_path / 'page.md').read_text(), (
        'run python tools/make_model_zoo.py'
    )
