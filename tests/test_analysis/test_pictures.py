"""What is drawn: samples after augmentation, predictions of a test, names in any script."""

import warnings
from types import SimpleNamespace as Namespace

import numpy as np
import pytest
import torch
from matplotlib import get_data_path
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw
from small_networks import TASKS

from edgenext_mm.analysis import fonts
from edgenext_mm.analysis.drawing import draw
from edgenext_mm.analysis.pictures import PicturesHook, browse
from edgenext_mm.errors import InputError
from edgenext_mm.runtime import Classification, Detections

OTHER = f'{get_data_path()}/fonts/ttf/STIXGeneral.ttf'


@pytest.mark.parametrize('task', TASKS)
def test_browse_dataset(run_tool, tmp_path, task):
    config, _ = TASKS[task]
    for name in ('one.png', 'two.png'):
        run_tool('analysis/browse_dataset.py', config, '--number', 3, '--out', name)
    one, two = (np.array(Image.open(tmp_path / name)) for name in ('one.png', 'two.png'))
    assert one.shape[1] == 2 * 320 and one.std() > 20
    np.testing.assert_array_equal(one, two)
    run_tool('analysis/browse_dataset.py', config, '--number', 3, '--seed', 1, '--out', 'two.png')
    assert not np.array_equal(one, np.array(Image.open(tmp_path / 'two.png')))


def test_browse_refuses(demo_data):
    cfg = Config.fromfile(TASKS['detection'][0])
    init_default_scope('mmdet')
    cfg.test_dataloader = None
    with pytest.raises(InputError, match='has no test_dataloader: choose another'):
        browse(cfg, 'test')
    with pytest.raises(InputError, match='--number is 0'):
        browse(cfg, number=0)


@pytest.fixture
def new_fonts(monkeypatch):
    """Forget the fonts, and have only one of Matplotlib's own beside DejaVu Sans."""
    monkeypatch.setattr(fonts, 'findSystemFonts', lambda: [OTHER])
    monkeypatch.setattr(fonts, '_missing', set())

    def forget():
        for function in (fonts._files, fonts._file_of):
            function.cache_clear()

    forget()
    yield
    forget()


def test_another_font_for_what_the_first_lacks(new_fonts):
    own = fonts._characters(fonts._files()[0])
    character = chr(min(key for key in fonts._characters(OTHER) - own if key > 0x2100))
    text = f'boat {character} 0.93'
    assert ''.join(part for part, _ in fonts.runs(text)) == text
    assert OTHER in [file for _, file in fonts.runs(text)]
    assert fonts.families([text]) == ['DejaVu Sans', 'STIXGeneral']
    picture = Image.new('RGB', (200, 40), 'white')
    fonts.draw_text(ImageDraw.Draw(picture), (0, 0), text, 20, (0, 0, 0))
    assert np.array(picture).std() > 20


def test_names_the_package_of_a_missing_script_once(new_fonts):
    with pytest.warns(UserWarning, match=r"'汉' \(CJK.* fonts-noto-cjk") as warned:
        picture = Image.new('RGB', (200, 40), 'white')
        fonts.draw_text(ImageDraw.Draw(picture), (0, 0), '汉字 汉', 20, (0, 0, 0))
    assert len(warned) == 1
    with pytest.warns(UserWarning, match='DEVANAGARI .* fonts-noto-core'):
        fonts.families(['नाव'])
    assert np.array(picture).any()


def test_letters_of_matplotlibs_font_differ():
    """Greek, Cyrillic and Arabic are drawn, and not as one box for all."""
    image = np.zeros((60, 200, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        drawn = [
            np.array(draw(image, Classification(np.array([0.5]), [name])))
            for name in ('λ', 'ж', 'ق')
        ]
    assert not any(np.array_equal(drawn[i], drawn[i - 1]) for i in range(3))


def test_annotations_have_no_number():
    image, box = np.zeros((60, 200, 3), np.uint8), np.array([[10.0, 20, 60, 50]])
    label = np.array([0])
    annotated = draw(image, Detections(box, np.array([np.nan]), label, ['boat']))
    predicted = draw(image, Detections(box, np.array([0.5]), label, ['boat']))
    assert np.array(annotated).any(axis=2).sum() < np.array(predicted).any(axis=2).sum()


def test_equal_names_stay_apart(tmp_path):
    samples = []
    for folder in ('a', 'b'):
        path = tmp_path / 'data' / folder / '1.png'
        path.parent.mkdir(parents=True)
        Image.new('RGB', (64, 64)).save(path)
        sample = DetDataSample(metainfo=dict(img_path=str(path)))
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8, 40, 40]]),
            labels=torch.zeros(1).long(),
            scores=torch.ones(1),
        )
        samples.append(sample)
    # As in a test set that nobody has annotated.
    del samples[1].gt_instances
    dataset = Namespace(metainfo=dict(classes=('船',)), data_root=str(tmp_path / 'data'))
    runner = Namespace(test_dataloader=Namespace(dataset=dataset))
    PicturesHook(tmp_path / 'out').after_test_iter(runner, 0, None, samples)
    drawn, alone = (np.array(Image.open(tmp_path / 'out' / name / '1.jpg')) for name in 'ab')
    assert drawn.shape == (64, 128, 3) and not drawn[:, :60].any()
    assert alone.shape == (64, 64, 3) and alone.any() and drawn[:, 64:].any()
