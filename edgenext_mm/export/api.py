"""From a config and a checkpoint to a file for another runtime."""

import copy
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ..checkpoint.files import read_checkpoint
from ..checkpoint.pretrained import fit
from ..datasets.demo import make_demo_data
from ..errors import InputError
from ..images import read_image
from .form import export_form
from .graphs import INPUT, MASK_SIZE, ClassifierGraph, DetectorGraph, Graph, SegmentorGraph
from .metadata import FORMAT, classes_and_palette, postprocessing, preparation, source
from .options import CALIBRATION_IMAGES, FORMATS, METADATA_FILE, Options, check_packages
from .verify import check_differences, differences, outputs

IMAGES = 10
"""On how many images a file is checked."""


class Exported:
    """A model that is on its way into a file.

    Attributes:
        graph: what the file is to compute.
        reference: the same of the model as it was trained.
        metadata: what the file says about itself.
        inputs: tensors of the sizes that the file takes.
    """

    def __init__(self, cfg: Config, checkpoint: str, options: Options) -> None:
        model, meta = load_model(cfg, checkpoint)
        info = preparation(cfg, options.size, 'size' in options.dynamic)
        size = info['input']['size']
        own = FORMATS[options.format]
        form = own.form | own.int8_form if options.int8 else own.form
        info['input']['batch'] = None if 'batch' in options.dynamic else 1
        network = model.backbone if options.backbone else model
        self.reference = make_graph(network, info, options)
        self.graph = make_graph(export_form(network, size, **form), info, options)
        task = self.graph.task
        if self.graph.form == 'logits' and not options.raw:
            print_log(
                f'{options.format} has no argmax: the file gives the logits of all classes, of '
                'which the predictor takes the largest',
                'current',
            )
        self.metadata: dict[str, Any] = {'format': FORMAT, 'task': task}
        arch = cfg.model.backbone.get('arch')
        self.metadata['arch'] = arch if isinstance(arch, str) else None
        if task != 'features':
            self.metadata |= classes_and_palette(cfg, meta)
        self.metadata |= info
        self.metadata['output'] = {'form': self.graph.form, 'names': self.graph.names}
        if isinstance(self.graph, DetectorGraph) and self.graph.form != 'raw_boxes':
            self.metadata['postprocess'] = postprocessing(self.graph)
        self.metadata['precision'] = (
            'float16' if options.half else 'int8' if options.int8 else 'float32'
        )
        self.metadata['source'] = source(cfg, _digestible(model))
        height, width = size or (320, 256)
        image = torch.rand(1, info['input']['channels'], height, width) * 255
        self.inputs = [image]
        if task == 'segmentation' and not options.raw and size is None:
            self.inputs.append(torch.tensor([height + 10, width - 10]))

    def feed(self, image: str) -> dict[str, np.ndarray]:
        """Return the inputs for the file of an image."""
        from ..runtime.predictor import prepare

        pixels = read_image(image, self.metadata['input']['color_type'])
        inputs = {INPUT: prepare(pixels, self.metadata).image}
        if len(self.inputs) > 1:
            inputs[MASK_SIZE] = np.array(pixels.shape[:2], np.int64)
        return inputs


class Feed:
    """The inputs for a file of several images, read anew each time they are gone through."""

    def __init__(self, exported: Exported, images: Sequence[str]) -> None:
        self.exported, self.images = exported, images

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return map(self.exported.feed, self.images)

    def __contains__(self, image: object) -> bool:
        return image in self.images


def export(
    cfg: Config, checkpoint: str, options: Options, out: str | Path, images: Sequence[str]
) -> str:
    """Write a file, run it beside PyTorch, and keep it if both agree.

    Args:
        cfg: config of the model.
        checkpoint: its weights, all of them.
        options: what the file is to be.
        out: the file.
        images: files of images on which it is checked.

    Returns:
        What the check found, a line for each output.

    Raises:
        InputError: if the model, its test pipeline or the options do not suit the format, a package
            is missing, or the file computes something else than PyTorch. There is no file then.
    """
    own = FORMATS[options.format]
    check_packages([*own.packages, *(own.int8_packages if options.int8 else ())], own.extra)
    out = Path(out)
    if not out.name.endswith(own.suffix):
        raise InputError(f'--out {out}: names of the format {options.format} end in {own.suffix}')
    module = _import(f'{__package__}.formats.{options.format}')
    for name in own.int8_packages if options.int8 else ():
        _import(name)
    calibration = training_images(cfg, options) if options.int8 else []
    exported = Exported(cfg, checkpoint, options)
    with whole_files(out) as path:
        how = {'images': Feed(exported, calibration)} if options.int8 else {}
        module.write(exported.graph, exported.inputs, path, exported.metadata, options, **how)
        if not own.runs_here:
            return f'not run beside PyTorch: {own.suffix} runs on other machines than this'
        return verify(path, exported, images)


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # a package is a program, which may fail in any way
        raise InputError(
            f'{name} cannot be imported beside PyTorch {torch.__version__} '
            f'({type(error).__name__}: {error}): take the versions of requirements.txt and '
            'requirements-export.txt, or another format'
        ) from error


def verify(path: Path, exported: Exported, images: Sequence[str]) -> str:
    """Run a file and PyTorch on images, and compare their outputs; see :func:`export`."""
    from .files import open_session

    session = open_session(path, precision='f32' if path.suffix == '.xml' else None)
    off = []
    for image in images:
        inputs = exported.feed(image)
        found = dict(zip(exported.graph.names, session.run(inputs), strict=True))
        tensors = [torch.from_numpy(value) for value in inputs.values()]
        off.append(differences(outputs(exported.reference, tensors), found))
    return check_differences(off, exported.metadata['precision'])


def load_model(cfg: Config, checkpoint: str) -> tuple[Any, dict[str, Any]]:
    """Build the model of a config with all weights of a checkpoint.

    Returns:
        The model in evaluation mode, and what the checkpoint says about itself.

    Raises:
        InputError: if the checkpoint cannot be read, or lacks weights of the model.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    settings = copy.deepcopy(cfg.model)
    if 'backbone' in settings:
        settings.backbone.pop('init_cfg', None)
    model = MODELS.build(settings)
    content = read_checkpoint(checkpoint)
    model.load_state_dict(fit(model, content, checkpoint, purpose='test'))
    return model.eval(), dict(content.get('meta') or {})


def make_graph(network: nn.Module, info: dict[str, Any], options: Options) -> Graph:
    """Return the graph for a task.

    Raises:
        InputError: if an option is for another task.
    """
    how = network, info['mean'], info['std']
    graph: Graph
    if options.backbone:
        graph = Graph(*how)
    elif hasattr(network, 'bbox_head'):
        form = 'raw_boxes' if options.raw else 'detections' if options.nms else 'boxes'
        graph = DetectorGraph(*how, size=info['input']['size'], form=form)
    elif hasattr(network, 'decode_head'):
        graph = SegmentorGraph(*how, raw=options.raw or not FORMATS[options.format].argmax)
    elif hasattr(network, 'head'):
        graph = ClassifierGraph(*how)
    else:
        raise InputError(
            f'{type(network).__name__} is no single-stage detector, segmentor or classifier: '
            'export its backbone alone with --backbone'
        )
    if options.nms and graph.task != 'detection':
        raise InputError(f'--nms is for detectors, and the config is for {graph.task}')
    if options.raw and graph.task not in ('detection', 'segmentation'):
        raise InputError(f'--raw is for detectors and segmentors, not for {graph.task}')
    return graph.eval().requires_grad_(False)


def test_images(cfg: Config, count: int = IMAGES) -> list[str]:
    """Return images of a config's test set; none, and a warning, if it is not there.

    Args:
        cfg: the config.
        count: how many at most.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    try:
        return _images(cfg.test_dataloader.dataset, count)
    except (InputError, OSError) as error:
        print_log(
            f'{error}\nThe file is checked on drawn images instead.', 'current', logging.WARNING
        )
        return []


def drawn_images(folder: str | Path) -> list[str]:
    """Draw images into a folder, for a config whose test set is not there."""
    make_demo_data(folder, train=1, val=IMAGES, processes=1)
    return sorted(map(str, Path(folder).glob('val2017/*.jpg')))


def training_images(cfg: Config, options: Options) -> list[str]:
    """Return images of a config's training set, from which eight bits learn ranges of values.

    Raises:
        InputError: if it is not there.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    try:
        images = _images(
            cfg.train_dataloader.dataset, options.calibration_images or CALIBRATION_IMAGES
        )
    except (AttributeError, InputError, OSError) as error:
        raise InputError(
            f'{error}\n--int8 measures ranges of values on images of the training set: give its '
            'place, as for training, or export without --int8'
        ) from error
    return images


def _images(dataset: Any, count: int) -> list[str]:
    dataset = DATASETS.build(dataset)
    indices = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
    return [dataset.get_data_info(int(index))['img_path'] for index in indices]


@contextmanager
def whole_files(out: Path) -> Iterator[Path]:
    """Give a name in a folder beside a file, and move what was written there when all is done.

    Raises:
        InputError: if nothing can be written there.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix=f'.{out.name}.', suffix='.partial', dir=out.parent)
    except OSError as error:
        raise InputError(f'{out} cannot be written ({error}): choose another --out') from error
    with folder as name:
        path = Path(name) / out.name
        try:
            yield path
            for part in Path(name).iterdir():
                target = out.parent / part.name
                if part.is_dir() and target.is_dir():
                    _remove_exported(target)
                os.replace(part, target)
        except OSError as error:
            raise InputError(f'{out} cannot be written ({error}): choose another --out') from error


def _remove_exported(folder: Path) -> None:
    """Remove a folder for another in its place, if it is one that an export wrote, or empty."""
    files = {path.name for path in folder.iterdir()}
    if files and not files & {METADATA_FILE, 'Manifest.json'}:  # of ncnn, Core ML
        raise InputError(f'{folder} holds other files than exported ones: choose another --out')
    shutil.rmtree(folder)


def _digestible(model: nn.Module) -> bytes:
    return b''.join(value.numpy().tobytes() for value in model.state_dict().values())
