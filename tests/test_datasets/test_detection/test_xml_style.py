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

    def build(train_list='ImageSets/Main/train.txt', classes=CLASSES):
        return XMLDataset(
            data_root=f'{data}/',
            data_prefix=dict(sub_data_root=''),
            ann_file=train_list,
            metainfo=dict(classes=classes),
            filter_cfg=dict(filter_empty_gt=True),
        )

    assert len(build()) == 32
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
