"""The models that a benchmark measures: those of a config, and what one would take instead."""

import copy
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS
from torch.profiler import ProfilerActivity, profile


@dataclass
class Candidate:
    """A model to measure.

    Attributes:
        name: how tables call it.
        model: the model.
        function: maps images (N, C, H, W) to tensors, nested as they may be.
        rival: group of models that all times are compared with. Defaults to none.

    Example:
        >>> import torch
        >>> from edgenext_mm.analysis.candidates import Candidate
        >>> layer = torch.nn.Conv2d(3, 64, kernel_size=1)
        >>> candidate = Candidate('layer', layer, layer)
        >>> images = torch.zeros(1, 3, 64, 64)
        >>> candidate.seconds(images) > 0
        True
        >>> candidate.memory(images) / 2**20  # MiB, of the output
        1.0
    """

    name: str
    model: nn.Module
    function: Callable[[torch.Tensor], Any]
    rival: str = ''

    def seconds(self, images: torch.Tensor, backward: bool = False) -> float:
        """Call the model and return how long that takes.

        Args:
            images: the input, (N, C, H, W).
            backward: go back to the parameters' gradients as well.
        """
        start = time.perf_counter()
        with torch.set_grad_enabled(backward):
            outputs = self.function(images)
            if backward:
                torch.stack([x.square().mean() for x in _tensors(outputs)]).sum().backward()
                self.model.zero_grad()
        return time.perf_counter() - start

    def memory(self, images: torch.Tensor, backward: bool = False) -> int:
        """Call the model and return the most bytes that are allocated at a time.

        The weights are not counted.
        """
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            self.seconds(images, backward)
        events = [e for e in profiler.profiler.kineto_results.events() if e.name() == '[memory]']
        current = peak = 0
        # PyTorch before 2.2 has microseconds.
        for event in sorted(
            events, key=lambda e: e.start_ns() if hasattr(e, 'start_ns') else e.start_us()
        ):
            current += event.nbytes()
            peak = max(peak, current)
        return peak


def build_candidates(
    cfg: Config,
    images: torch.Tensor,
    whole: bool = False,
    forms: Sequence[str] = ('eager', 'deploy'),
    backward: bool = False,
    with_cp: bool = False,
    peers: Sequence[str] = (),
) -> list[Candidate]:
    """Build a config's backbone or whole model in its forms, and then the peers.

    Args:
        cfg: the config, whose default scope is set. Initial weights of the backbone are not loaded.
        images: the input, for which the compiled forms are compiled.
        whole: the whole model, a detector or segmentor beside torchvision's with MobileNetV3, and a
            classifier beside timm's.
        forms: 'eager', 'deploy' and 'compiled', the deploy form in torch.compile with the weights
            as constants. Peers are then compiled too.
        backward: training mode, and no form but the eager one.
        with_cp: with ``backward``, the model with ``with_cp=True`` as well.
        peers: 'timm', 'mmpretrain' and 'mobilevit', as far as they have the arch. With ``whole``,
            any of them stands for torchvision's model. Those that are for three channels only are
            left out, with a warning, for images of other channels.
    """
    # Not at the top of the module: a benchmark has the package of another checkout here.
    from ..deploy import switch_to_deploy

    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.init_cfg = None
    cfg.model.data_preprocessor = None  # not measured, and perhaps unknown to the other checkout
    rivals = _build_peers(cfg, whole, peers)
    model = _build_ours(cfg, whole)
    for module in (model, *(rival.model for rival in rivals)):
        module.train(backward)
    if backward:
        candidates = [Candidate('edgenext_mm', model, model)]
        if with_cp:
            cfg.model.backbone.with_cp = True
            twin = _build_ours(cfg, whole)
            candidates.append(Candidate('edgenext_mm, with_cp', twin, twin))
        return candidates + rivals
    deployed = switch_to_deploy(model, inplace=False)
    models = {'eager': model, 'deploy': deployed}
    candidates = [
        Candidate(f'edgenext_mm, {form}', models[form], models[form])
        for form in forms
        if form in models
    ]
    if 'compiled' in forms:
        ours = Candidate('edgenext_mm, deploy', deployed, deployed)
        candidates += [_compiled(candidate, images) for candidate in (ours, *rivals)]
    return candidates + rivals


def _build_ours(cfg: Config, whole: bool) -> nn.Module:
    model = MODELS.build(cfg.model if whole else cfg.model.backbone)
    model.init_weights()
    return model


def _build_peers(cfg: Config, whole: bool, peers: Sequence[str]) -> list[Candidate]:
    if not peers:
        return []
    channels = cfg.model.backbone.get('in_channels', 3)
    if whole and cfg.default_scope in ('mmdet', 'mmseg'):
        if channels != 3:
            warnings.warn(
                f"torchvision's model is for images of 3 channels, not {channels}, and left out",
                stacklevel=2,
            )
            return []
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large as ssdlite
        from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large as deeplabv3

        if cfg.default_scope == 'mmdet':
            classes = cfg.model.bbox_head.num_classes
            # COCO's 80 classes have ids up to 90, which torchvision's model predicts as they are.
            classes = 91 if classes == 80 else classes + 1
            detector = ssdlite(weights=None, weights_backbone=None, num_classes=classes)
            maps = nn.Sequential(detector.backbone, _Heads(detector.head))
            return [Candidate('ssdlite320_mobilenet_v3_large', maps, maps, 'torchvision')]
        classes = cfg.model.decode_head.num_classes
        segmentor = deeplabv3(weights=None, weights_backbone=None, num_classes=classes)
        return [Candidate('deeplabv3_mobilenet_v3_large', segmentor, segmentor, 'torchvision')]
    import timm
    from mmpretrain.models import EdgeNeXt

    arch = cfg.model.backbone.arch
    arch = arch if isinstance(arch, str) else ''  # one of the user's own
    candidates: list[Candidate] = []
    has_arch = 'timm' in peers and f'edgenext_{arch}' in timm.list_models('edgenext*')
    if whole:  # a classifier
        if has_arch:
            classes = cfg.model.head.num_classes
            model: Any = timm.create_model(
                f'edgenext_{arch}', num_classes=classes, in_chans=channels
            )
            candidates.append(Candidate('timm', model, model, 'EdgeNeXt'))
        return candidates
    if has_arch:
        model = timm.create_model(f'edgenext_{arch}', num_classes=0, in_chans=channels)
        candidates.append(Candidate('timm', model, model.forward_features, 'EdgeNeXt'))
    if 'mmpretrain' in peers and arch.replace('_', '') in EdgeNeXt.arch_settings:
        model = EdgeNeXt(arch.replace('_', ''), in_channels=channels)
        candidates.append(Candidate('mmpretrain', model, model, 'EdgeNeXt'))
    if 'mobilevit' in peers:
        model = timm.create_model('mobilevit_s', num_classes=0, in_chans=channels)
        candidates.append(Candidate('mobilevit_s', model, model.forward_features, 'MobileViT-S'))
    return candidates


class _Heads(nn.Module):
    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, maps: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.heads([*maps.values()])


def _compiled(candidate: Candidate, images: torch.Tensor) -> Candidate:
    function = torch.compile(candidate.function)
    with torch._inductor.config.patch(freezing=True), torch.no_grad():
        function(images)
    rival = candidate.rival and f'compiled {candidate.rival}'
    return Candidate(f'{candidate.name}, compiled', candidate.model, function, rival)


def export_candidate(candidate: Candidate, images: torch.Tensor, path: str) -> None:
    """Write a model by torch.onnx.export, and what a runtime has to know of it.

    Args:
        candidate: the model.
        images: (N, C, H, W), the input for which it is exported.
        path: the file.
    """
    import onnx

    from ..export.formats.onnx import KEY

    graph = _Graph(candidate).eval()
    dynamo = 'dynamo' in signature(torch.onnx.export).parameters  # not before PyTorch 2.5
    exporter: dict[str, Any] = {'dynamo': False} if dynamo else {}
    with torch.no_grad():
        names = [f'output_{i}' for i in range(len(graph(images)))]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer
        torch.onnx.export(
            graph,
            (images,),
            path,
            input_names=['image'],
            output_names=names,
            opset_version=17,
            **exporter,
        )
    batch, channels, *size = images.shape
    description = {
        'task': 'peer',
        'input': {'batch': batch, 'channels': channels, 'size': size},
        'output': {'form': 'raw', 'names': names},
        'precision': 'float32',
    }
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {KEY: json.dumps(description)})
    onnx.save(model, path)


class _Graph(nn.Module):
    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.model, self.function = candidate.model, candidate.function

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_tensors(self.function(images)))


def _tensors(outputs: Any) -> Iterator[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        yield outputs
    else:
        for item in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(item)
