import pytest
import torch
import torch.nn.functional as F
from conftest import SEG_CONFIGS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torchvision.models.segmentation.deeplabv3 import ASPP

from edgenext_mm.analysis.complexity import count_complexity
from edgenext_mm.errors import InputError
from edgenext_mm.models import DeepLabv3Head


def build(name):
    init_default_scope('mmseg')
    return MODELS.build(Config.fromfile(SEG_CONFIGS / f'deeplabv3_edgenext_{name}_voc.py').model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'parameters', 'multiply_adds'),
    [
        ('small', (6.45, 6.55), (8.3, 8.7)),
        ('small_bn_hs', (6.45, 6.55), (8.3, 8.7)),
        ('x_small', (2.9, 3.0), (3.8, 3.9)),
        ('xx_small', (1.85, 1.90), (2.2, 2.3)),
    ],
)
def test_complexity_is_the_papers(name, parameters, multiply_adds):
    rows = count_complexity(build(name), (512, 512))
    assert list(rows) == ['backbone', 'decode_head', 'model']
    assert parameters[0] < rows['model'][0] / 1e6 < parameters[1]
    assert multiply_adds[0] < rows['model'][1] / 1e9 < multiply_adds[1]


@pytest.mark.parametrize(('output_stride', 'rates'), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_equals_torchvision(output_stride, rates):
    """The pooled branch comes first in mmseg and last in torchvision."""
    torch.manual_seed(0)
    head = DeepLabv3Head(24, channels=8, num_classes=5, output_stride=output_stride).eval()
    peer = ASPP(24, rates, out_channels=8).eval()
    for module in peer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    branches = [head.image_pool, *head.aspp_modules, head.bottleneck]
    peers = [peer.convs[-1], *peer.convs[:-1], peer.project]
    for branch, other in zip(branches, peers, strict=True):
        weights = [value.clone() for value in other.state_dict().values()]
        if other is peer.project:
            weights[0] = weights[0].roll(8, dims=1)
        names = branch.state_dict().keys()
        branch.load_state_dict(dict(zip(names, weights, strict=True)))
    x = torch.randn(2, 24, 40, 33)
    with torch.no_grad():
        expected = head.conv_seg(peer(x))
        torch.testing.assert_close(head((x,)), expected, rtol=1e-4, atol=1e-5)


def test_slide_and_whole_inference():
    """A window as large as the image is the whole; smaller ones are averaged where they overlap."""
    torch.manual_seed(0)
    model = build('xx_small').eval()
    image = torch.randn(1, 3, 96, 160)

    def predict(mode, window=(96, 160), stride=(96, 160)):
        model.test_cfg.update(mode=mode, crop_size=window, stride=stride)
        meta = dict(ori_shape=(48, 80), img_shape=(96, 160), pad_shape=(96, 160))
        with torch.no_grad():
            return model.predict(image, [SegDataSample(metainfo=meta)])[0]

    whole = predict('whole')
    assert whole.pred_sem_seg.shape == (48, 80) and whole.seg_logits.data.shape == (21, 48, 80)
    torch.testing.assert_close(predict('slide').seg_logits.data, whole.seg_logits.data)
    slid = predict('slide', (96, 96), (64, 64)).seg_logits.data
    # Columns 0 to 31 (of 80, half the pixels) are in the left window only.
    with torch.no_grad():
        left = F.interpolate(model(image[..., :96]), (96, 96), mode='bilinear')[..., :64]
    expected = F.interpolate(left, (48, 32), mode='bilinear')[0]
    torch.testing.assert_close(slid[..., :31], expected[..., :31])


def test_bad_arguments():
    with pytest.raises(InputError, match='output_stride of DeepLabv3Head is 8 or 16, not 32'):
        DeepLabv3Head(24, num_classes=5, output_stride=32)


@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_single_image_does_not_train(norm):
    head = DeepLabv3Head(24, num_classes=5, norm_cfg=dict(type=norm)).train()
    with pytest.raises(InputError, match='cannot train on a batch of one image'):
        head.loss((torch.randn(1, 24, 8, 8),), [SegDataSample()], None)
