"""Measure a config's backbone or whole model beside the models that one would take instead."""

import copy
import os
import sys
from pathlib import Path

import torch
from mmengine.registry import MODELS, init_default_scope

from edgenext_mm.analysis.benchmark import Candidate, measure, measure_matmul_peak, table
from edgenext_mm.cli import config_parser, load_config
from edgenext_mm.deploy import switch_to_deploy
from edgenext_mm.errors import InputError, exit_on_input_error

FORMS = ('eager', 'deploy', 'compiled')
BACKBONES = ('timm', 'mmpretrain', 'mobilevit')


def parse_args():
    parser = config_parser(__doc__)
    parser.add_argument(
        '--whole',
        action='store_true',
        help='the whole model: a detector or segmentor is measured '
        "beside torchvision's with MobileNetV3",
    )
    parser.add_argument(
        '--forms',
        nargs='+',
        choices=FORMS,
        default=['eager', 'deploy'],
        help='compiled is the deploy form in torch.compile, with the weights as constants; peers '
        'are then compiled too (default: eager deploy)',
    )
    parser.add_argument('--backward', action='store_true', help='forward and backward, eager')
    parser.add_argument('--with-cp', action='store_true', help='measure with_cp=True as well')
    parser.add_argument('--peers', nargs='*', choices=BACKBONES, default=BACKBONES)
    parser.add_argument('--shape', type=int, nargs=2, default=[256, 256], metavar=('H', 'W'))
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 16])
    parser.add_argument('--threads', type=int, default=min(os.cpu_count(), 2))
    parser.add_argument('--runs', type=int, default=20, help='calls of each (default: 20)')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='append the tables to a file')
    return parser.parse_args()


def build_peers(cfg, args):
    """Return the peers: eager candidates, each group of which is a rival."""
    if args.whole:
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large as ssdlite
        from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large as deeplabv3

        options = dict(weights=None, weights_backbone=None)
        if cfg.default_scope == 'mmdet':
            model = ssdlite(**options)
            maps = torch.nn.Sequential(model.backbone, _Heads(model.head))
            return [Candidate('ssdlite320_mobilenet_v3_large', maps, maps, 'torchvision')]
        if cfg.default_scope == 'mmseg':
            model = deeplabv3(**options, num_classes=21)
            return [Candidate('deeplabv3_mobilenet_v3_large', model, model, 'torchvision')]
        raise InputError(f'--whole is for detectors and segmentors; {args.config} is neither')
    import timm
    from mmpretrain.models import EdgeNeXt

    arch = cfg.model.backbone.arch
    peers = []
    if 'timm' in args.peers and f'edgenext_{arch}' in timm.list_models('edgenext*'):
        model = timm.create_model(f'edgenext_{arch}', num_classes=0)
        peers.append(Candidate('timm', model, model.forward_features, 'EdgeNeXt'))
    if 'mmpretrain' in args.peers and arch.replace('_', '') in EdgeNeXt.arch_settings:
        model = EdgeNeXt(arch.replace('_', ''))
        peers.append(Candidate('mmpretrain', model, model, 'EdgeNeXt'))
    if 'mobilevit' in args.peers:
        model = timm.create_model('mobilevit_s', num_classes=0)
        peers.append(Candidate('mobilevit_s', model, model.forward_features, 'MobileViT-S'))
    return peers


class _Heads(torch.nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, maps):
        return self.heads([*maps.values()])


def build_candidates(cfg, args, images):
    """Return what is measured in turns: ours in its forms first, then the peers."""
    cfg.model.backbone.init_cfg = None  # the weights do not matter
    model = MODELS.build(cfg.model if args.whole else cfg.model.backbone)
    model.init_weights()
    model.train(args.backward)
    peers = build_peers(cfg, args)
    for peer in peers:
        peer.model.train(args.backward)
    if args.backward:
        candidates = [Candidate('edgenext_mm', model, model)]
        if args.with_cp:
            twin = copy.deepcopy(model)
            (twin.backbone if args.whole else twin).with_cp = True
            candidates.append(Candidate('edgenext_mm, with_cp', twin, twin))
    else:
        deployed = switch_to_deploy(model, inplace=False)
        forms = dict(eager=model, deploy=deployed)
        candidates = [
            Candidate(f'edgenext_mm, {form}', forms[form], forms[form])
            for form in args.forms
            if form in forms
        ]
        if 'compiled' in args.forms:
            ours = Candidate('edgenext_mm, deploy, compiled', deployed, deployed)
            candidates.append(compiled(ours, images))
            candidates += [
                compiled(
                    Candidate(
                        f'{peer.name}, compiled',
                        peer.model,
                        peer.function,
                        f'compiled {peer.rival}',
                    ),
                    images,
                )
                for peer in peers
            ]
    return candidates + peers


def compiled(candidate, images):
    """Compile the function of a candidate for these images, with the weights as constants."""
    candidate.function = torch.compile(candidate.function)
    with torch._inductor.config.patch(freezing=True), torch.no_grad():
        candidate.function(images)
    return candidate


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    cfg = load_config(args)
    init_default_scope(cfg.default_scope)
    height, width = args.shape
    command = ' '.join(sys.argv[1:]).partition(' --markdown')[0]
    for batch_size in args.batch_sizes:
        torch.compiler.reset()  # so that each size has code of its own
        images = torch.randn(batch_size, 3, height, width)
        candidates = build_candidates(cfg, args, images)
        peak = measure_matmul_peak()
        measure(candidates, images, args.backward, args.runs)
        text = (
            f'`tools/benchmark.py {command}`: {batch_size} x {height}x{width}, {args.threads} '
            f'threads, peak {peak / 1e9:.0f} GMAdds/s\n\n'
            f'{table(candidates, images, peak, args.backward)}\n'
        )
        print(f'\n{text}')
        if args.markdown:
            with args.markdown.open('a') as file:
                file.write(f'\n{text}')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
