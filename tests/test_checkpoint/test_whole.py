"""The libraries' own ways to a model with weights: these fit, or the checkpoint is refused."""

import pytest
import torch
from mmdet.apis import DetInferencer, init_detector
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint
from mmpretrain import ImageClassificationInferencer, get_model
from mmseg.apis import MMSegInferencer, init_model
from small_networks import ARCH, CLASSES, LAST, below, config_of, noise

from edgenext_mm.deploy import switch_to_deploy
from edgenext_mm.errors import InputError
from edgenext_mm.models import EdgeNeXt

APIS = {
    'DetInferencer': ('detection', lambda *args: DetInferencer(*args, device='cpu').model),
    'init_detector': ('detection', lambda *args: init_detector(*args, device='cpu')),
    'MMSegInferencer': ('segmentation', lambda *args: MMSegInferencer(*args, device='cpu').model),
    'init_model': ('segmentation', lambda *args: init_model(*args, device='cpu')),
    'get_model': ('classification', get_model),
    'inferencer': ('classification', lambda *args: ImageClassificationInferencer(*args).model),
}


@pytest.fixture
def load(tmp_path):
    def run(api, content):
        path = tmp_path / 'loaded.pth'
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        task, call = APIS[api]
        return call(config_of(task), str(path))

    return run


@pytest.mark.slow
@pytest.mark.parametrize('api', APIS)
def test_fits_or_is_refused(load, tmp_path, api):
    task, call = APIS[api]
    state, classes = noise(task), noise(task, **{CLASSES[task]: 20})
    meta = dict(dataset_meta=dict(classes=('a', 'b'), palette=[[0, 0, 0], [9, 9, 9]]))
    good = dict(state_dict=state, meta=meta)
    lightning = {'pytorch-lightning_version': '2.4', 'hyper_parameters': {}}
    for content in (
        good,
        state,
        {'state_dict': below('module.', state), 'meta': meta},
        {'state_dict': below('_orig_mod.', state)},
        {'net': state, 'optimizer': {'state': {}}, 'epoch': 3},
        {**lightning, 'state_dict': below('model.', state) | {'loss.weight': torch.ones(2)}},
    ):
        own = load(api, content).state_dict()
        assert all(torch.equal(own[key], value) for key, value in state.items())

    network = call(config_of(task), str(tmp_path / 'loaded.pth'))
    backbone = {k: v for k, v in state.items() if k.startswith('backbone.')}
    last = LAST[task]
    whole = (tmp_path / 'loaded.pth').read_bytes()
    for content, words in (
        ({k.removeprefix('backbone.'): v for k, v in backbone.items()}, 'init_cfg'),
        (backbone, r'missing .*\. Its backbone fits.*init_cfg'),
        ({k: v for k, v in state.items() if k not in backbone}, r'0 of \d+ tensors fit'),
        (classes, f'of another shape .*{last.rpartition(".")[0]}.* in the checkpoint'),
        ({k: state[k] for k in [*state][::2]}, r'tensors fit; \d+ missing'),
        ({k: v for k, v in state.items() if k != last}, f'1 missing .{last}'),
        (state | {'other.weight': torch.ones(2)}, '1 unexpected .other.weight'),
        (state | {last: state[last] * torch.nan}, f'are not finite .{last}'),
        (state | {last: state[last].to_sparse()}, f'sparse or without values .{last}'),
        (switch_to_deploy(network).state_dict(), 'missing .* after switch_to_deploy'),
        (dict(optimizer=dict(state={}), epoch=3), '0 of'),
        ({}, '0 of'),
        (['weights'], 'holds no state dict, but a list'),
        (EdgeNeXt(ARCH), 'holds a EdgeNeXt, code and all'),
        (b'hello', 'is not a whole checkpoint'),
        (b'', 'is not a whole checkpoint'),
        (whole[: len(whole) // 2], 'is not a whole checkpoint'),
    ):
        if isinstance(content, dict) and content.keys() & {last, 'backbone.stages.0.0.gamma'}:
            content = dict(state_dict=content, meta=meta)
        with pytest.raises(InputError, match=words):
            load(api, content)
    for path in (tmp_path, tmp_path / 'no.pth'):
        with pytest.raises(InputError, match='cannot read the checkpoint'):
            call(config_of(task), str(path))


class Detector(BaseModel):
    """A user's own network on the backbone."""

    def __init__(self):
        super().__init__()
        self.backbone = EdgeNeXt(ARCH, out_indices=(3,))
        self.head = torch.nn.Linear(32, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


def test_the_backbone_in_any_network(tmp_path):
    """What belongs to other parts is as mmengine has it; PyTorch's own loading is PyTorch's."""
    path = str(tmp_path / 'checkpoint.pth')
    model = Detector()
    state = model.state_dict()
    head = {key: value for key, value in state.items() if key.startswith('head')}
    for content, words in (
        (head, '0 of .* missing .backbone'),
        (below('student.', state), '0 of .* unexpected .student.backbone'),
        (state | {'backbone.stages.0.0.gamma': torch.ones(9)}, '1 of another shape .backbone.s'),
    ):
        torch.save({'state_dict': content}, path)
        with pytest.raises(InputError, match=words):
            load_checkpoint(model, path)
        if 'another shape' not in words:
            result = model.load_state_dict(content, strict=False)
            assert len(result.missing_keys) >= len(state) - len(head)
    torch.save({'state_dict': {k: v for k, v in state.items() if k not in head}}, path)
    load_checkpoint(model, path)
    assert model.load_state_dict(torch.load(path)['state_dict'], strict=False).missing_keys == [
        'head.weight',
        'head.bias',
    ]


def test_initialised_heads_keep_what_a_checkpoint_lacks(tmp_path):
    """In a run without PretrainedHook, mmengine loads after the initialisation, and logs."""
    cfg = config_of('segmentation')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    path = str(tmp_path / 'checkpoint.pth')
    torch.save(noise('segmentation', **{CLASSES['segmentation']: 20}), path)
    with pytest.raises(InputError, match='2 of another shape'):
        load_checkpoint(model, path)
    model.init_weights()
    load_checkpoint(model, path)
    assert model.decode_head.conv_seg.bias.shape == (7,)
