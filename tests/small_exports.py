"""Files of small networks in all formats, and their comparison with the networks."""

from importlib import import_module
from importlib.util import find_spec

import pytest
import torch
from small_networks import ARCH, network

from edgenext_mm.export.files import open_session
from edgenext_mm.export.form import export_form
from edgenext_mm.export.graphs import ClassifierGraph, DetectorGraph, Graph, SegmentorGraph
from edgenext_mm.export.options import FORMATS
from edgenext_mm.export.verify import check_differences, differences, outputs

SIZE = 64, 96
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
TASKS = ('detection', 'segmentation', 'classification', 'features')
SLOW = ('executorch', 'exported_program', 'coreml', 'litert')
# What is not in every environment: LiteRT's needs one of its own, the others newer releases of
# PyTorch than OpenMMLab's own libraries do.
NEEDS = {'litert': 'litert_torch', 'executorch': 'executorch', 'coreml': 'coremltools'}


def formats(*names):
    return [pytest.param(x, marks=pytest.mark.slow if x in SLOW else ()) for x in names or FORMATS]


def skip_if_missing(name):
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f'{NEEDS[name]} is not installed')
    if name == 'exported_program' and torch.__version__ < '2.6':
        pytest.skip('PyTorch before 2.6 has another torch.export')


def model(task, bn_hs=False):
    """Return a model with weights of which the answers are neither equal nor extreme."""
    settings = {'model.backbone.arch': ARCH | dict(bn_hs=bn_hs)}
    if task in ('classification', 'features') and bn_hs:
        settings['model.head.bn_hs'] = True
    torch.manual_seed(0)
    built = network('classification' if task == 'features' else task, **settings).eval()
    for name, parameter in built.named_parameters():
        if parameter.ndim > 1 and parameter[0].numel() > 1:
            scale = 3 if 'bbox_head' in name else 2
            torch.nn.init.normal_(parameter, std=(scale / parameter[0].numel()) ** 0.5)
    return built.backbone if task == 'features' else built


def graph(task, built, size=SIZE, raw=False, nms=False):
    if task == 'detection':
        form = 'raw_boxes' if raw else 'detections' if nms else 'boxes'
        made = DetectorGraph(built, MEAN, STD, size=size, form=form)
    elif task == 'segmentation':
        made = SegmentorGraph(built, MEAN, STD, raw=raw)
    else:
        made = (Graph if task == 'features' else ClassifierGraph)(built, MEAN, STD)
    return made.eval().requires_grad_(False)


def write(path, settings, task, built, size=SIZE):
    """Write a file, and return what it is to compute, its input and its description."""
    skip_if_missing(settings.format)
    own = FORMATS[settings.format]
    how = dict(size=size, nms=settings.nms, raw=settings.raw or not own.argmax)
    made = graph(task, export_form(built, size, **own.form), **how)
    inputs = [torch.rand(1, 3, *SIZE) * 255]
    if size is None and made.form == 'mask':
        inputs.append(torch.tensor([70, 100]))
    info = {'format': 1, 'output': {'form': made.form, 'names': made.names}, 'name': 'Ä"<&>'}
    module = import_module(f'edgenext_mm.export.formats.{settings.format}')
    module.write(made, inputs, path, info, settings)
    return graph(task, built, **how), inputs, info


def in_full(path):
    """Open a file in float32, also where OpenVINO would choose bfloat16."""
    return open_session(path, precision='f32' if path.suffix == '.xml' else None)


def check(session, reference, inputs, precision='float32'):
    feed = dict(zip(('image', 'mask_size'), (x.numpy() for x in inputs), strict=False))
    found = dict(zip(reference.names, session.run(feed), strict=True))
    check_differences([differences(outputs(reference, inputs), found)], precision)
