"""Inference reads files as validation does: what reaches the network is the same."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile
from mmdet.apis import DetInferencer, inference_detector
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmpretrain import ImageClassificationInferencer
from mmseg.apis import MMSegInferencer, inference_model
from PIL import Image

from edgenext_mm.errors import InputError
from edgenext_mm.images import read_image
from edgenext_mm.loading import LoadImageFromFile

SIZE = 96, 160  # height and width, upright
SHADES = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
CLASSES = ('clock', 'kite')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Images of several kinds, and annotations for all tasks."""
    root = tmp_path_factory.mktemp('kinds')
    for folder in ('images', 'masks', 'folders/kite', 'folders/clock'):
        (root / folder).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated clockwise
    upright = Image.fromarray(SHADES)
    upright.rotate(90, expand=True).save(root / 'images/rotated.png', exif=exif)
    Image.fromarray(SHADES[..., 0].astype(np.uint16) << 8).save(root / 'images/deep.png')
    Image.fromarray(np.dstack([SHADES, SHADES[..., 0]])).save(root / 'images/alpha.png')
    upright.quantize(16).save(root / 'images/palette.png', transparency=3)
    names = sorted(path.name for path in (root / 'images').iterdir())
    for name in names:
        Image.fromarray(SHADES[..., 0] // 128).save(root / 'masks' / name)
        shutil.copy(root / 'images' / name, root / 'folders/clock')
        shutil.copy(root / 'images' / name, root / 'folders/kite')
    content = dict(
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES)],
        images=[
            dict(id=i, file_name=name, height=SIZE[0], width=SIZE[1])
            for i, name in enumerate(names)
        ],
        annotations=[
            dict(id=i, image_id=i, category_id=0, bbox=[8, 8, 40, 40], area=1600, iscrowd=0)
            for i, _ in enumerate(names)
        ],
    )
    (root / 'boxes.json').write_text(json.dumps(content))
    return root


DATA = {
    'mmdet': dict(
        ann_file='boxes.json',
        data_prefix=dict(img='images/'),
    ),
    'mmseg': dict(
        img_suffix='.png',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        ann_file='',
    ),
    'mmpretrain': dict(data_prefix='folders', ann_file=''),
}
DEMOS = {
    'mmdet': CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
    'mmseg': SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
    'mmpretrain': CLS_CONFIGS / 'edgenext_xx_small_demo.py',
}


def demo(scope, root):
    """Return the demo config of a library for these files, with a small network."""
    cfg = Config.fromfile(DEMOS[scope])
    cfg.model.backbone.update(
        arch=dict(depths=(1, 1, 1, 1), dims=(24, 48, 88, 168), num_heads=4), init_cfg=None
    )
    for head in {'bbox_head', 'decode_head', 'head'} & set(cfg.model):
        cfg.model[head].num_classes = len(CLASSES)
    if scope == 'mmpretrain':
        cfg.model.data_preprocessor.num_classes = len(CLASSES)
    dataset = cfg.test_dataloader.dataset
    dataset.pop('metainfo')
    dataset.update(data_root=str(root), metainfo=dict(classes=CLASSES), **DATA[scope])
    return cfg


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Save the weights of a config's model, as a run does, and return the file."""

    def save(cfg):
        path = tmp_path_factory.mktemp('weights') / 'weights.pth'
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            state = MODELS.build(cfg.model).state_dict()
        torch.save({'state_dict': state, 'meta': {'dataset_meta': {'classes': CLASSES}}}, path)
        return str(path)

    return save


def seen(model, run):
    """Return what reaches the backbone while something runs."""
    inputs = []
    handle = model.backbone.register_forward_pre_hook(lambda _, args: inputs.append(args[0].cpu()))
    with torch.no_grad():
        run()
    handle.remove()
    return torch.cat(inputs)


def seen_in_validation(model, cfg):
    """Return what reaches the backbone for each image of the dataset, by name."""
    collate = default_collate if cfg.default_scope == 'mmpretrain' else pseudo_collate
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    return {
        dataset.get_data_info(i)['img_path']: seen(
            model, lambda i=i: model.test_step(collate([dataset[i]]))
        )
        for i in range(len(dataset))
    }


INFERENCERS = {
    'mmdet': lambda cfg, weights: DetInferencer(cfg, weights, device='cpu', show_progress=False),
    'mmseg': lambda cfg, weights: MMSegInferencer(cfg, weights, device='cpu'),
    'mmpretrain': lambda cfg, weights: ImageClassificationInferencer(cfg, weights, device='cpu'),
}


@pytest.mark.slow
@pytest.mark.parametrize('scope', DEMOS)
def test_inferencers_see_what_validation_sees(scope, root, weights):
    cfg = demo(scope, root)
    inferencer = INFERENCERS[scope](demo(scope, root), weights(cfg))
    expected = seen_in_validation(inferencer.model, cfg)
    names = {path.rsplit('/', 1)[1] for path in expected}
    assert names == {'rotated.png', 'deep.png', 'alpha.png', 'palette.png'}
    for path, tensor in expected.items():
        # What mmpretrain reads itself, by OpenCV, has no alpha.
        if scope != 'mmpretrain' or path.endswith(('rotated.png', 'deep.png')):
            assert torch.equal(seen(inferencer.model, lambda path=path: inferencer(path)), tensor)
        array = read_image(path)
        assert array.shape == (*SIZE, 3)
        assert torch.equal(seen(inferencer.model, lambda array=array: inferencer(array)), tensor)


@pytest.mark.slow
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_functions_see_what_validation_sees(scope, root, weights):
    cfg = demo(scope, root)
    model = INFERENCERS[scope](demo(scope, root), weights(cfg)).model
    infer = dict(mmdet=inference_detector, mmseg=inference_model)[scope]
    for path, tensor in seen_in_validation(model, cfg).items():
        for source in (path, read_image(path)):
            with DefaultScope.overwrite_default_scope(scope):
                model.cfg = demo(scope, root)  # which mmseg changes
                run = seen(model, lambda source=source: infer(model, source))
            assert torch.equal(run, tensor)


@pytest.mark.slow
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_inferencers_name_the_file(scope, root, weights, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes((root / 'images/deep.png').read_bytes()[:500])
    cfg = demo(scope, root)
    inferencer = INFERENCERS[scope](cfg, weights(cfg))
    with pytest.raises(InputError, match=f'^{broken} cannot be read as an image'):
        inferencer(str(broken))


def test_other_decoders_stay(root):
    info = dict(img_path=str(root / 'images/alpha.png'))
    for backend in ('cv2', 'pillow'):
        ours = LoadImageFromFile(imdecode_backend=backend)(dict(info))
        theirs = MMCVLoadImageFromFile(imdecode_backend=backend)(dict(info))
        assert np.array_equal(ours.pop('img'), theirs.pop('img')) and ours == theirs
    with pytest.raises(ValueError, match='edgenext_mm is not supported'):
        MMCVLoadImageFromFile(imdecode_backend='edgenext_mm')(dict(info))


def test_arguments(root):
    def load(**kwargs):
        return LoadImageFromFile(imdecode_backend='edgenext_mm', **kwargs)

    info = dict(img_path=str(root / 'images/deep.png'))
    result = load()(dict(info))
    assert result['img_shape'] == result['ori_shape'] == SIZE and result['img'].dtype == np.uint8
    assert load(to_float32=True)(dict(info))['img'].dtype == np.float32
    stored = load(color_type=1)(dict(info))['img']
    assert np.array_equal(stored, SHADES[..., 0] * 256.0)
    array = np.zeros((4, 5, 3), np.uint8)
    assert load()(dict(img=array))['img'] is array
    assert load(ignore_empty=True)(dict(img_path='missing.png')) is None
    with pytest.raises(InputError, match="color_type is 'color'"):
        load(color_type='unchanged')
    with pytest.raises(InputError, match='set backend_args'):
        load(file_client_args=dict(backend='disk'))
    with pytest.raises(InputError, match=r'missing\.png cannot be read as an image \(\[Errno 2'):
        load()(dict(img_path='missing.png'))
