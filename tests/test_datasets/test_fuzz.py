"""Whatever is in a folder of data, its samples can be learned from, or an InputError names it.

FUZZ_CASES sets the number of cases. `make fuzz` draws other ones each time.
"""

import copy
import json
import os
import signal
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import fuzz
import pytest
import torch
from conftest import CLS_CONFIGS, CONFIGS, SEG_CONFIGS
from hypothesis import HealthCheck, assume, event, given, settings
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope, init_default_scope
from PIL import Image

from edgenext_mm.analysis.summary import as_json, compare, summarize
from edgenext_mm.datasets.annotations import TOLERANCE
from edgenext_mm.datasets.converters.coco_to_voc import convert_coco
from edgenext_mm.datasets.image_size import SizedBatch
from edgenext_mm.errors import InputError

CASES = int(os.environ.get('FUZZ_CASES', 0))
SECONDS = 60  # without an end after these, a case hangs
SIDE = 64  # of what the network would see, in pixels

TASKS = {
    'coco': CONFIGS / 'ssdlite_edgenext_small_custom_coco.py',
    'voc': CONFIGS / 'ssdlite_edgenext_small_custom_voc.py',
    'masks': SEG_CONFIGS / 'deeplabv3_edgenext_small_custom.py',
    'folders': CLS_CONFIGS / 'edgenext_xx_small_demo.py',
}


class Hang(BaseException):
    """Not an Exception, which what hangs may catch."""


def share(part):
    """Settings of a test that draws a part of the cases."""
    return settings(
        max_examples=round(part * (CASES or 2000)),
        derandomize=not CASES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope='module', autouse=True)
def no_hang():
    def stop(*_):
        raise Hang(f'no end after {SECONDS} s')

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope='module')
def root():
    """A folder in memory where there is such a thing."""
    with TemporaryDirectory(dir='/dev/shm' if os.path.isdir('/dev/shm') else None) as folder:
        yield Path(folder)


@pytest.fixture(scope='module')
def data_configs():
    """The data of the configs for a user's own, at the size of these images, by task and split."""
    return {task: shrink(Config.fromfile(path)) for task, path in TASKS.items()}


def shrink(cfg):
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for step in loader.dataset.pipeline:
            if 'scale' in step:
                step.scale = [(96, 48), (96, SIDE)] if 'Random' in step.type else (SIDE, SIDE)
            if 'crop_size' in step:
                step.crop_size = (48, 48)
    return cfg


def settings_of(cfg, split, root, case, task):
    dataset = copy.deepcopy(cfg[f'{split}_dataloader'].dataset.to_dict())
    classes = ('background', 'cat') if task == 'masks' else fuzz.CLASSES
    dataset.update(data_root=str(root), metainfo=dict(classes=classes))
    for name, value in case.dataset.items():
        if '.' in name:
            outer, _, name = name.partition('.')
            if isinstance(dataset[outer], dict):
                dataset[outer] = {**dataset[outer], name: value}
        else:
            dataset[name] = value
    return dataset


def load(dataset_cfg):
    """Yield what a data set gives to the network, sample by sample."""
    with redirect_stdout(StringIO()):  # pycocotools says what it does
        dataset = DATASETS.build({'serialize_data': False, **dataset_cfg})
    assert len(dataset)
    for index in SizedBatch(range(len(dataset)), SIDE):
        yield dataset, dataset.prepare_data(index)


def check(dataset, sample, for_metric, has_labels=True):
    """Assert that a network can learn from a sample."""
    image, target = sample['inputs'], sample['data_samples']
    classes = len(dataset.metainfo['classes'])
    assert image.ndim == 3 and image.shape[0] == 3 and min(image.shape[1:]) >= 32, image.shape
    assert torch.isfinite(image.float()).all()
    if 'gt_instances' in target:
        boxes, labels = target.gt_instances.bboxes.tensor, target.gt_instances.labels
        # For the metric boxes stay as they are annotated, up to what rounding may do.
        (height, width), edge = (
            (target.ori_shape, TOLERANCE) if for_metric else (image.shape[1:], 1e-3)
        )
        assert torch.isfinite(boxes).all(), boxes
        assert (boxes[:, 2:] > boxes[:, :2]).all(), boxes
        assert (boxes >= -edge).all(), boxes
        assert (boxes[:, 2:] <= torch.tensor([width, height]) + edge).all(), boxes
        assert ((labels >= 0) & (labels < classes)).all(), labels
        assert len(boxes) == len(labels)
    elif 'gt_sem_seg' in target:
        labels = target.gt_sem_seg.data
        assert labels.shape[0] == 1
        if not for_metric:
            assert labels.shape[1:] == image.shape[1:], (labels.shape, image.shape)
        kept = labels[labels != dataset.ignore_index]
        assert ((kept >= 0) & (kept < classes)).all()
    elif has_labels:
        assert target.gt_label.shape == (1,) and 0 <= target.gt_label.item() < classes


def run(data_configs, root, task, case, split):
    """Load a case, and check that it ends well."""
    fuzz.clear(root)
    case.write(root)
    before = sorted(root.rglob('*'))
    cfg = data_configs[task]
    init_default_scope(cfg.default_scope)
    dataset_cfg = settings_of(cfg, split, root, case, task)
    refused = ''
    signal.alarm(SECONDS)
    try:
        try:
            for dataset, sample in load(copy.deepcopy(dataset_cfg)):
                check(dataset, sample, split == 'val', case.dataset.get('with_label', True))
        except InputError as error:
            refused = str(error)
            assert_named(refused, root, case)
        event('named error' if refused else 'loaded')
        if split == 'train':
            assert_summarized(dataset_cfg, refused)
    finally:
        signal.alarm(0)
        DefaultScope._instance_dict.clear()
    assert sorted(root.rglob('*')) == before


def assert_named(message, root, case):
    """The message names a file, or the setting at fault."""
    # A name that begins with / is not in the folder.
    named = str(root) in message or message.startswith('/')
    assert named or any(name in message for name in case.dataset), message
    assert '\n' not in message.replace(repr('\n'), ''), message


def assert_summarized(dataset_cfg, refused):
    """tools/check_dataset.py comes to the same result."""
    loader = dict(dataset=dict(dataset_cfg, serialize_data=False))
    summaries = summarize({'train_dataloader': loader}, processes=1)
    problems = [problem.message for summary in summaries for problem in summary.problems]
    assert bool(problems) == bool(refused), (refused, problems)
    for summary in summaries:
        assert summary.table()
    json.loads(as_json(summaries, compare(summaries)))


SOURCES = {
    'coco': (0.35, 'coco', fuzz.coco_cases()),
    'voc': (0.2, 'voc', fuzz.voc_cases()),
    'masks': (0.15, 'masks', fuzz.mask_cases()),
    'images': (0.1, 'coco', fuzz.image_cases()),
    'folders': (0.1, 'folders', fuzz.folder_cases()),
}


@pytest.mark.slow
@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('source', SOURCES)
def test_data(data_configs, root, source, split):
    part, task, cases = SOURCES[source]

    @share(part / 2)
    @given(cases)
    def test(case):
        run(data_configs, root, task, case, split)

    test()


@pytest.mark.parametrize('split', ['train', 'val'])
def test_settings(data_configs, root, split):
    @share(0.05)
    @given(fuzz.setting_cases())
    def test(drawn):
        task, case = drawn
        run(data_configs, root, task, case, split)

    test()


def test_converter(root):
    """The converter writes whole files only, and its list when all masks are there."""

    @share(0.05)
    @given(fuzz.converter_cases())
    def test(case):
        fuzz.clear(root)
        case.write(root)
        out = root / 'out'
        signal.alarm(SECONDS)
        try:
            convert_coco(root, out, processes=1)
        except InputError as error:
            assert_named(str(error), root, case)
            assert not (out / 'train2017.txt').exists()
        else:
            names = (out / 'train2017.txt').read_text().splitlines()
            assert sorted(names) == sorted(path.stem for path in (out / 'train2017').glob('*'))
        finally:
            signal.alarm(0)
        for path in out.rglob('*.*'):
            if path.suffix != '.txt':
                assert Image.open(path).convert('L').size

    test()


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('task', TASKS)
def test_whole(data_configs, root, task, split):
    """What is not spoiled is loaded, or all of this would prove nothing."""
    case = fuzz.whole(task)
    fuzz.clear(root)
    case.write(root)
    cfg = data_configs[task]
    init_default_scope(cfg.default_scope)
    samples = list(load(settings_of(cfg, split, root, case, task)))
    assert len(samples) == {'coco': 3, 'folders': 4}.get(task, 2)
    for dataset, sample in samples:
        check(dataset, sample, split == 'val')


def narrow(cfg):
    """Return the smallest network that the model of a config can be."""
    model = copy.deepcopy(cfg.model)
    arch = dict(depths=(1, 1, 2, 1), dims=(24, 48, 88, 168), num_heads=4)
    model.backbone.update(arch=arch, init_cfg=None)
    for part, settings_ in {
        'neck': dict(in_channels=(88, 168)),
        'bbox_head': dict(num_classes=len(fuzz.CLASSES)),
        'decode_head': dict(in_channels=168, num_classes=len(fuzz.CLASSES)),
    }.items():
        if model.get(part) and not (part == 'neck' and 'bbox_head' not in model):
            model[part].update(settings_)
    if 'decode_head' in model:
        model.data_preprocessor.size = (48, 48)
    return MODELS.build(model)


@pytest.mark.slow
@pytest.mark.parametrize('source', SOURCES)
def test_an_iteration(data_configs, root, source):
    """What is loaded gives finite losses and gradients."""
    _, task, cases = SOURCES[source]
    cfg = data_configs[task]
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = narrow(cfg).train()

    @settings(share(1), max_examples=3)
    @given(cases)
    def test(case):
        fuzz.clear(root)
        case.write(root)
        init_default_scope(cfg.default_scope)
        try:
            samples = [sample for _, sample in load(settings_of(cfg, 'train', root, case, task))]
        except InputError:
            samples = []
        assume(samples)
        # Twice, as BatchNorm cannot learn from one.
        batch = {key: [sample[key] for sample in samples * 2] for key in samples[0]}
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        loss, _ = model.parse_losses(losses)
        model.zero_grad()
        loss.backward()
        assert torch.isfinite(loss), losses
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name

    test()
