"""Images of one channel and of four, through the tools and the examples for them."""

import json
import re
import shutil

import numpy as np
import pytest
import timm
import torch
from conftest import CONFIGS, SEG_CONFIGS, text_for_another_folder
from mmengine.logging import MMLogger
from PIL import Image
from timm.models import adapt_input_conv

from edgenext_mm.analysis.logs import read_scalars
from edgenext_mm.checkpoint import load_pretrained, pretrained
from edgenext_mm.deploy import convert
from edgenext_mm.errors import InputError
from edgenext_mm.models import DetDataPreprocessor, EdgeNeXt, SegDataPreProcessor

TINY = dict(depths=(1, 1, 1, 1), dims=(24, 48, 88, 168), num_heads=4)
DEMOS = [
    CONFIGS / 'ssdlite_edgenext_xx_small_demo.py',
    SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py',
]


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 7])
def test_adapts_the_stem_as_timm_does(channels, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(pretrained, 'print_log', lambda text, *args: said.append(text))
    state = EdgeNeXt(TINY).state_dict()
    path = str(tmp_path / 'rgb.pth')
    torch.save(state, path)
    init_cfg = dict(type='Pretrained', checkpoint=path, adapt_stem=True)
    model = EdgeNeXt(TINY, in_channels=channels, init_cfg=init_cfg)
    model.init_weights()
    key = 'downsample_layers.0.0.weight'
    expected = dict(state, **{key: adapt_input_conv(channels, state[key])})
    loaded = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.allclose(loaded[name], value) for name, value in expected.items())
    how = {1: 'summed', 3: None}.get(channels, f'repeated, and scaled by 3/{channels}')
    assert said == (
        [
            f'{path}: the stem is for images of 3 channels, and the model for those of {channels}: '
            f'its weights are {how}'
        ]
        if how
        else []
    )
    if channels != 3:
        with pytest.raises(InputError, match=rf'of 3 channels, .* {channels}: .* adapt_stem=True'):
            load_pretrained(model, path)


def test_adapts_the_stem_of_other_families(tmp_path):
    """The names of timm, and a stem whose windows overlap."""
    peer = timm.create_model('edgenext_small_rw')
    path = str(tmp_path / 'timm.pth')
    torch.save(peer.state_dict(), path)
    model = EdgeNeXt('small_rw', in_channels=1)
    load_pretrained(model, path, adapt_stem=True)
    stem = model.downsample_layers[0][0].weight
    assert torch.allclose(stem, peer.stem[0].weight.sum(1, keepdim=True))


def test_adapts_nothing_else(tmp_path):
    path = str(tmp_path / 'other.pth')
    torch.save(EdgeNeXt(dict(TINY, dims=(16, 48, 88, 168))).state_dict(), path)
    with pytest.raises(InputError, match='of another shape') as error:
        load_pretrained(EdgeNeXt(TINY, in_channels=4), path)
    assert 'adapt_stem' not in str(error.value)
    with pytest.raises(InputError, match='of another shape'):
        load_pretrained(EdgeNeXt(TINY, in_channels=4), path, adapt_stem=True)


def test_converts(tmp_path):
    peer = EdgeNeXt('xx_small', in_channels=4)
    torch.save(peer.state_dict(), tmp_path / 'ours.pth')
    convert(str(tmp_path / 'ours.pth'), str(tmp_path / 'timm.pth'), 'timm')
    load_pretrained(model := EdgeNeXt('xx_small', in_channels=4), str(tmp_path / 'timm.pth'))
    assert torch.equal(model.downsample_layers[0][0].weight, peer.downsample_layers[0][0].weight)


def test_backbone_names_other_channels():
    backbone = EdgeNeXt(TINY, in_channels=4)
    assert len(backbone(torch.rand(1, 4, 32, 32))) == 4
    with pytest.raises(InputError, match=r'in_channels=4 and got images of shape \(\d, 3, '):
        backbone(torch.rand(1, 3, 32, 32))
    with pytest.raises(InputError, match=r'of shape \(4, 32, 32\), not \(N, 4, H, W\)'):
        backbone(torch.rand(4, 32, 32))


@pytest.mark.parametrize('build', [DetDataPreprocessor, SegDataPreProcessor])
def test_data_preprocessors(build):
    image = torch.randint(0, 256, (4, 5, 6), dtype=torch.uint8)
    mean, std = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 8.0]

    def run(image, **kwargs):
        return build(**kwargs)(dict(inputs=[image]))['inputs'][0]

    expected = (image.float() - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    assert torch.equal(run(image, mean=mean, std=std), expected)
    assert torch.equal(run(image[:1], mean=[7], std=[2]), (image[:1] - 7.0) / 2)
    assert torch.equal(run(image, mean=[7], std=[2]), (image - 7.0) / 2)
    assert torch.equal(run(image), image.float())
    color = run(image[:3], mean=mean[:3], std=std[:3], bgr_to_rgb=True)
    reversed_expected = run(image[[2, 1, 0]], mean=mean[:3], std=std[:3])
    assert torch.equal(color, reversed_expected)
    preprocessor = build(mean=mean, std=std)
    assert not preprocessor.state_dict() and preprocessor.double().mean.dtype == torch.float64
    for wrong, settings in (
        (image[:3], dict(mean=mean, std=std)),
        (image[:1], dict(mean=mean[:3], std=std[:3])),
        (image, dict(mean=[1.0], std=[1.0], bgr_to_rgb=True)),
        (image, dict(mean=mean, std=std, rgb_to_bgr=True)),
    ):
        with pytest.raises(InputError, match=rf'an image has {len(wrong)} channels'):
            run(wrong, **settings)
    for settings in (
        dict(mean=mean),
        dict(std=std),
        dict(mean=mean, std=std[:3]),
        dict(mean=[1.0], std=[0.0]),
        dict(mean=[1.0], std=[float('nan')]),
    ):
        with pytest.raises(InputError, match='one value for each channel'):
            build(**settings)


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('config', DEMOS, ids=['detection', 'segmentation'])
def test_complexity(config, channels, run_tool, capsys):
    run_tool(
        *('get_complexity.py', config, '--shape', 64, 64, '--cfg-options'),
        f'model.backbone.in_channels={channels}',
    )
    (million,) = re.findall(r'\| backbone \| ([\d.]+) \|', capsys.readouterr().out)
    network = EdgeNeXt('xx_small', in_channels=channels)
    used = sum(p.numel() for p in network.parameters())
    assert float(million) == pytest.approx(used / 1e6, abs=1e-3)


def fill_in(config, path, **settings):
    text = text_for_another_folder(config)
    for name, value in settings.items():
        text, count = re.subn(rf'^{name} = .*$', f'{name} = {value!r}', text, flags=re.M)
        assert count == 1, name
    path.write_text(text)
    return path


@pytest.fixture
def options(tmp_path):
    """Two iterations of a small network from weights for colors."""
    torch.save(EdgeNeXt('xx_small').state_dict(), tmp_path / 'rgb.pth')
    return [
        '--cfg-options',
        'model.backbone.arch=xx_small',
        f'model.backbone.init_cfg.checkpoint={tmp_path}/rgb.pth',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=1',
        'val_dataloader.num_workers=1',
        'default_hooks.logger.interval=1',
    ]


@pytest.mark.slow
def test_grey_example(run_tool, options, demo_data, tmp_path):
    """Trained and tested on 16-bit images."""
    data = tmp_path / 'data'
    content = json.loads((demo_data / 'annotations/instances_val2017.json').read_text())
    data.mkdir()
    content['images'] = content['images'][:4]
    ids = {image['id'] for image in content['images']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in ids]
    for image in content['images']:
        shades = Image.open(demo_data / 'val2017' / image['file_name']).convert('L')
        image['file_name'] = image['file_name'].replace('.jpg', '.png')
        Image.fromarray(np.asarray(shades).astype(np.uint16) * 257).save(data / image['file_name'])
    (data / 'boxes.json').write_text(json.dumps(content))
    classes = tuple(c['name'] for c in content['categories'])
    base = fill_in(
        CONFIGS / 'ssdlite_edgenext_small_custom_coco.py',
        tmp_path / 'base.py',
        **dict.fromkeys(('train_images', 'val_images'), f'{data}/'),
        **dict.fromkeys(('train_annotations', 'val_annotations'), f'{data}/boxes.json'),
        classes=classes,
    )
    config = tmp_path / 'grey.py'
    text = (CONFIGS / 'ssdlite_edgenext_small_custom_grey.py').read_text()
    config.write_text(text.replace('ssdlite_edgenext_small_custom_coco.py', str(base)))
    run_tool(
        *('train.py', config, f'--work-dir={tmp_path}/work', *options),
        *('model.neck.in_channels=[88,168]', 'train_cfg.max_epochs=1'),
    )
    train, val = read_scalars(tmp_path / 'work')
    assert np.isfinite(train[2]['loss']) and 'coco/bbox_mAP' in val[1]
    assert 'its weights are summed' in next((tmp_path / 'work').glob('*/*.log')).read_text()
    run_tool(
        *('test.py', config, tmp_path / 'work/epoch_1.pth', f'--work-dir={tmp_path}/test'),
        *(*options, 'model.neck.in_channels=[88,168]'),
    )


@pytest.mark.slow
def test_bands_example(run_tool, options, demo_data, tmp_path):
    """Trained and tested on four bands; a file of three is named."""
    data = tmp_path / 'data'
    (data / 'images').mkdir(parents=True)
    (data / 'masks').mkdir()
    for mask in sorted((demo_data / 'VOC2012/SegmentationClass').iterdir())[:4]:
        image = Image.open(demo_data / f'VOC2012/JPEGImages/{mask.stem}.jpg')
        image.putalpha(image.convert('L'))
        image.save(data / f'images/{mask.stem}.png')
        shutil.copy(mask, data / 'masks')
    base = fill_in(
        SEG_CONFIGS / 'deeplabv3_edgenext_small_custom.py',
        tmp_path / 'base.py',
        **dict.fromkeys(('train_images', 'val_images'), f'{data}/images'),
        **dict.fromkeys(('train_masks', 'val_masks'), f'{data}/masks'),
        classes=tuple('abcdefg'),
    )
    config = tmp_path / 'bands.py'
    text = (SEG_CONFIGS / 'deeplabv3_edgenext_small_custom_bands.py').read_text()
    config.write_text(text.replace('deeplabv3_edgenext_small_custom.py', str(base)))
    options += [
        *('model.decode_head.in_channels=168', 'model.data_preprocessor.size=(64,64)'),
        *('train_dataloader.dataset.pipeline.4.crop_size=(64,64)', 'train_cfg.max_iters=2'),
        *('train_cfg.val_interval=2', 'val_dataloader.dataset.pipeline.1.scale=(128,64)'),
    ]
    run_tool('train.py', config, f'--work-dir={tmp_path}/work', *options)
    train, val = read_scalars(tmp_path / 'work')
    assert np.isfinite(train[2]['loss']) and val[2]['mIoU'] >= 0
    log = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert 'its weights are repeated, and scaled by 3/4' in log
    MMLogger._instance_dict.clear()
    (broken,) = sorted((data / 'images').iterdir())[:1]
    Image.open(broken).convert('RGB').save(broken)
    with pytest.raises(SystemExit, match=rf'{broken.name} has 3 bands, and color_type .* wants 4'):
        run_tool(
            *('test.py', config, tmp_path / 'work/iter_2.pth', f'--work-dir={tmp_path}/test'),
            *options,
        )
