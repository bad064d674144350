import json
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
from mmdet.datasets import CocoPanopticDataset
from mmdet.models import (
    HeuristicFusionHead,
    MaskFormerFusionHead,
    PanopticFPNHead,
    RPNHead,
    Shared2FCBBoxHead,
)
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, TestLoop
from torch.distributed import HashStore
from torch.utils.data import ConcatDataset, Subset

from edgenext_mm.engine import NumClassesCheckHook
from edgenext_mm.engine.hooks import unwrapped
from edgenext_mm.errors import InputError
from edgenext_mm.models import EdgeNeXt

COCO = CocoPanopticDataset.METAINFO
CLASSES = dict(classes=('a', 'b', 'c'))
TINY = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_heads=2)


class Data(BaseDataset):
    def load_data_list(self):
        return [dict(value=torch.ones(2)) for _ in range(4)]


def data(*classes, **metainfo):
    return Data(metainfo=dict(classes=classes, **metainfo), pipeline=[lambda info: info['value']])


class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


class Model(BaseModel):
    """With a number of classes of its own, as mmseg's segmentors have."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.num_classes = num_classes
        self.decode_head = Head(num_classes)
        self.backbone = Head(-1)
        self.loss = Head(None)
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs, mode):
        outs = self.layer(torch.stack(inputs))
        return {'loss': outs.sum()} if mode == 'loss' else [*outs]


class Metric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(count=len(results))


def new_runner(tmp_path, train, val, test, model=None, hooks=(), **kwargs):
    loaders = {
        f'{name}_dataloader': dict(
            batch_size=2,
            num_workers=0,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=lambda batch: dict(inputs=batch),
        )
        for name, dataset in dict(train=train, val=val, test=test).items()
    }
    return Runner(
        model or Model(),
        str(tmp_path),
        **loaders,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        val_cfg=dict(),
        test_cfg=dict(),
        val_evaluator=[Metric()],
        test_evaluator=[Metric()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='edgenext_mm.NumClassesCheckHook'), *hooks],
        experiment_name=tmp_path.name,
        **kwargs,
    )


class Count(Hook):
    iterations = 0

    def after_train_iter(self, *args, **kwargs):
        self.iterations += 1


def test_checks_classes_before_anything_runs(tmp_path):
    """Of training and validation before the first iteration, through what wraps a dataset."""
    right, wrong = data('a', 'b', 'c'), data('a', 'b')
    several = ConcatDataset([Subset(right, [0, 1]), RepeatDataset(wrong, 2)])
    for index, (train, val) in enumerate([(wrong, right), (right, wrong), (right, several)]):
        count = Count()
        runner = new_runner(tmp_path / str(index), train, val, right, hooks=[count])
        name = 'train' if train is wrong else 'val'
        message = (
            rf'^model\.decode_head has num_classes=3 and the dataset of {name}_dataloader has 2'
        )
        with pytest.raises(InputError, match=message):
            runner.train()
        assert count.iterations == 0
        if name == 'val':
            with pytest.raises(InputError, match=message):
                runner.val()
        runner.test()
    runner = new_runner(tmp_path / 'test', right, right, wrong, hooks=[count])
    runner.train()
    assert count.iterations == 4
    with pytest.raises(InputError, match='dataset of test_dataloader has 2 classes'):
        runner.test()


class Plain(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.ones(2)


@pytest.mark.parametrize('dataset', [Plain(), Subset(Plain(), [0, 1]), Data(pipeline=[])])
def test_says_what_it_does_not_check(tmp_path, dataset):
    runner = new_runner(tmp_path, data('a', 'b', 'c'), dataset, dataset)
    runner.train_dataloader  # noqa: B018
    warnings = []
    runner.logger.warning = warnings.append
    NumClassesCheckHook().before_train(runner)
    assert warnings == [
        'the number of classes of model.decode_head is not checked against the dataset of '
        'val_dataloader: it has no metainfo.classes'
    ]


def check(model, metainfo):
    """Return what the check warns of."""
    dataset, warnings = SimpleNamespace(metainfo=metainfo), []
    runner = SimpleNamespace(
        model=model,
        test_dataloader=SimpleNamespace(dataset=dataset),
        logger=SimpleNamespace(warning=warnings.append),
    )
    NumClassesCheckHook().before_test(runner)
    return warnings


def test_detectors_that_read_names():
    model = nn.ModuleDict(dict(bbox_head=Head(256), language_model=nn.Identity()))
    (warning,) = check(model, COCO)
    assert warning.endswith('test_dataloader: the model reads their names')


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


def test_names_the_keys_of_the_config():
    """Of all that differ, the head first; without wrappers for processes and augmented tests."""
    model = Model()
    model.data_preprocessor.num_classes = 3
    model.reid = nn.ModuleDict(dict(head=Head(380)))
    for wrapped in (model, Wrapper(model), Wrapper(Wrapper(model))):
        check(wrapped, dict(classes=('a', 'b', 'c')))
        with pytest.raises(InputError) as error:
            check(wrapped, dict(classes=['a', 'b']))
        text = str(error.value)
        assert text.startswith(
            'model.decode_head has num_classes=3, model.data_preprocessor has num_classes=3 and'
        )
        assert 'set model.decode_head.num_classes=2, model.data_preprocessor.num_classes=2' in text
    with pytest.raises(InputError, match=r"is the text 'cat': write a tuple of names, \('cat',\)"):
        check(model, dict(classes='cat'))


def panoptic_fpn(things=80, stuff=53):
    numbers = dict(num_things_classes=things, num_stuff_classes=stuff)
    with DefaultScope.overwrite_default_scope('mmdet'):
        heads = dict(
            rpn_head=RPNHead(in_channels=8, num_classes=1, feat_channels=8),
            bbox_head=Shared2FCBBoxHead(in_channels=8, fc_out_channels=8, num_classes=things),
            semantic_head=PanopticFPNHead(**numbers, in_channels=8, inner_channels=32),
            panoptic_fusion_head=HeuristicFusionHead(**numbers),
        )
    return nn.ModuleDict(heads)


def test_panoptic_models():
    check(panoptic_fpn(), COCO)
    check(nn.ModuleDict(dict(fusion_head=MaskFormerFusionHead(80, 53))), COCO)
    instances = nn.ModuleDict(dict(fusion_head=MaskFormerFusionHead(80, 0)))
    check(instances, dict(classes=COCO['thing_classes']))
    with pytest.raises(InputError) as error:
        check(panoptic_fpn(53, 80), COCO)
    text = str(error.value)
    assert (
        'model.semantic_head has num_things_classes=53, model.semantic_head has num_stuff' in text
    )
    assert '; 80 are things): set model.bbox_head.num_classes=80, model.semantic_head.num_' in text
    with pytest.raises(InputError, match=r'model\.bbox_head has num_classes=79'):
        check(nn.ModuleDict(dict(panoptic_fpn(), bbox_head=Head(79))), COCO)


MEASURE = """
import json
import resource
import torch
from torch.utils.data import DataLoader
from edgenext_mm.engine import KeepMemoryHook

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def use(mebibytes):
    # So large that glibc by itself returns each: how much it keeps of smaller ones varies.
    blocks = [torch.ones(40 << 20, dtype=torch.uint8) for _ in range(mebibytes // 40)]

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        use(1000)
        (line,) = (line for line in open('/proc/self/status') if line.startswith('RssAnon'))
        return int(line.split()[1]) >> 10

def memory_of_worker():
    use(400)
    (memory,) = DataLoader(Data(), batch_size=2, num_workers=1, multiprocessing_context='fork')
    return max(memory.tolist())

results = []
for _ in range(2):
    page_faults()
    results.append((page_faults(), memory_of_worker()))
    KeepMemoryHook().before_train(None)
print(json.dumps(results))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc' or torch.cuda.is_available(), reason='for glibc and CPUs'
)
def test_keeps_memory():
    """Here, and not in workers, which may use again what this process has kept: 400 MiB."""
    output = subprocess.check_output([sys.executable, '-c', MEASURE], text=True)
    (faults, memory), (faults_then, memory_then) = json.loads(output.splitlines()[-1])
    assert faults_then < 0.1 * faults
    assert memory_then < memory + 500  # of 1000


class Network(Model):
    def __init__(self):
        super().__init__()
        self.backbone = EdgeNeXt(TINY, out_indices=(3,))
        self.layer = nn.Linear(32, 1)

    def forward(self, inputs, mode):
        (x,) = self.backbone(torch.stack(inputs))
        outs = self.layer(x.mean((2, 3)))
        return {'loss': outs.square().sum()} if mode == 'loss' else [*outs]


class Images(Data):
    def load_data_list(self):
        generator = torch.Generator().manual_seed(0)
        return [dict(value=torch.rand(3, 64, 64, generator=generator)) for _ in range(4)]


class Spy(Hook):
    """Sees which model a test works with, and raises in it."""

    priority = 'VERY_LOW'
    error = None

    def before_test_iter(self, runner, batch_idx, data_batch=None):
        self.model = runner.model
        self.deployed = unwrapped(runner.model).backbone.deployed
        if self.error and batch_idx == 1:
            raise self.error

    def after_test_epoch(self, runner, metrics=None):
        assert metrics == dict(count=4)


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_switches_to_deploy_for_the_test_alone(tmp_path, error):
    """Training, validation and checkpoints after an error are those of a run without a test."""
    states = []
    for test in (False, True):
        images, spy = Images(pipeline=[lambda info: info['value']], metainfo=CLASSES), Spy()
        hooks = [dict(type='edgenext_mm.SwitchToDeployHook'), spy]
        torch.manual_seed(0)
        model = Network()
        runner = new_runner(tmp_path / str(test), images, images, images, model, hooks)
        if test:
            spy.error = error
            with pytest.raises(error):
                runner.test()
            assert spy.deployed and spy.model is not model
            with pytest.raises(error):
                runner.test()
        torch.manual_seed(0)
        runner.train()
        runner.val()
        assert runner.model is model and not model.backbone.deployed
        checkpoint = torch.load(tmp_path / str(test) / 'epoch_2.pth', weights_only=False)
        states.append(checkpoint['state_dict'])
        spy.error = None
        runner.test()
        assert spy.deployed and runner.model is model
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


class SetAverage(Hook):
    """Makes the averaged weights differ from those of the model."""

    def before_test(self, runner):
        (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
        with torch.no_grad():
            ema.ema_model.module.layer.bias.fill_(0.25)


def test_switches_the_averaged_weights(tmp_path):
    """EMAHook puts them in and takes them out again."""
    images, spy = Images(pipeline=[lambda info: info['value']], metainfo=CLASSES), Spy()
    hooks = [dict(type='edgenext_mm.SwitchToDeployHook'), EMAHook(), SetAverage(), spy]
    runner = new_runner(tmp_path, images, images, images, Network(), hooks)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.test()
    assert spy.deployed and spy.model.layer.bias == 0.25
    assert all(torch.equal(value, before[key]) for key, value in runner.model.state_dict().items())


def test_switches_in_a_wrapper(tmp_path):
    images, spy = Images(pipeline=[lambda info: info['value']], metainfo=CLASSES), Spy()
    hooks = [dict(type='edgenext_mm.SwitchToDeployHook'), spy]
    runner = new_runner(tmp_path, images, images, images, Network(), hooks)
    model = runner.model
    torch.distributed.init_process_group('gloo', store=HashStore(), rank=0, world_size=1)
    try:
        runner.model = wrapper = MMDistributedDataParallel(model)
        runner.test()
    finally:
        torch.distributed.destroy_process_group()
    assert spy.deployed and runner.model is wrapper is spy.model
    assert wrapper.module is model and not model.backbone.deployed


class OtherLoop(TestLoop):
    """As mmpretrain's RetrievalTestLoop."""

    run_iter = None

    def run(self):
        self.runner.call_hook('before_test_epoch')
        self.runner.call_hook('after_test_epoch', metrics=dict(count=4))


def test_says_that_it_does_not_switch(tmp_path):
    images = Images(pipeline=[lambda info: info['value']], metainfo=CLASSES)
    hooks = [dict(type='edgenext_mm.SwitchToDeployHook')]
    runner = new_runner(tmp_path, images, images, images, Network(), hooks)
    runner._test_loop = OtherLoop(runner, runner.test_dataloader, [Metric()])
    warnings = []
    runner.logger.warning = warnings.append
    runner.test()
    assert warnings == ['SwitchToDeployHook has no effect: OtherLoop does not call run_iter']
