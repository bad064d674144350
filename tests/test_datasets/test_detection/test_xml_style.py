import re
import shutil

import pytest

from edgenext_mm.datasets import XMLDataset
from edgenext_mm.datasets.demo.scenes import CLASSES
from edgenext_mm.errors import InputError


def test_bad_files(demo_data, tmp_path):
    data = shutil.copytree(demo_data / 'VOC2012', tmp_path / 'VOC2012')
    xml = sorted((data / 'Annotations').iterdir())[4]
    content = xml.read_text()

    def build(train_list='ImageSets/Main/train.txt', classes=CLASSES, **settings):
        return XMLDataset(
            data_root=f'{data}/',
            data_prefix=dict(sub_data_root=''),
            ann_file=train_list,
            metainfo=dict(classes=classes),
            filter_cfg=dict(filter_empty_gt=True),
            **settings,
        )

    assert len(build()) == 32
    xml.rename(xml.with_suffix('.XML'))
    names = f'{xml.stem}\n{xml.stem}.jpg\n{xml.stem}.PNG\r\n{xml.name}\n'
    (data / 'names.txt').write_text(names, 'utf-16')  # as PowerShell redirects them
    (info,) = build('names.txt', allow_missing_classes=True).report.items[:1]
    assert (info.file, info.message) == (xml.stem, 'used each time')
    xml.with_suffix('.XML').rename(xml)
    for broken in (
        content[:200],
        content.replace('xmin', 'left'),
        content.replace('<width>', '<width>x'),
    ):
        xml.write_text(broken)
        with pytest.raises(InputError, match=f'^{re.escape(str(xml))} is not a whole annotation'):
            build()
    xml.unlink()
    with pytest.raises(InputError, match=f'^{re.escape(str(xml))} does not exist: add it, or take'):
        build()
    xml.write_text(content)
    with pytest.raises(InputError, match=r'the list of images .*nowhere\.txt'):
        build(train_list='nowhere.txt')
    with pytest.raises(InputError, match='has no image with a box of the classes'):
        build(classes=('cat', 'dog'))
