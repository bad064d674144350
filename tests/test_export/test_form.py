import pytest
import torch

from edgenext_mm.export.form import export_form
from edgenext_mm.models.edgenext import ARCHS, EdgeNeXt

SIZES = ((64, 96), (70, 101))


def backbone(arch, **settings):
    """Return a network in which every part has its say in the maps."""
    torch.manual_seed(0)
    network = EdgeNeXt(arch, layer_scale_init_value=0.3, **settings)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
        elif 'gamma' not in name:
            torch.nn.init.normal_(parameter, mean=float('norm' in name), std=0.1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval().requires_grad_(False)


def check(network, form, images):
    for expected, found in zip(network(images), form(images), strict=True):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize('norm_in_means', (False, True))
@pytest.mark.parametrize('linear', (False, True))
@pytest.mark.parametrize('arch', [name for name in ARCHS if 'base' not in name])
def test_the_form_is_equal_to_the_network(arch, linear, norm_in_means):
    network = backbone(arch)
    for size in (None, SIZES[1]):
        form = export_form(network, size, linear, norm_in_means)
        for each in SIZES if size is None else [size]:
            check(network, form, torch.randn(2, 3, *each))


@pytest.mark.slow
@pytest.mark.parametrize('arch', [name for name in ARCHS if 'base' in name])
def test_the_form_of_large_networks_is_equal_to_them(arch):
    network = backbone(arch)
    for linear in (False, True):
        check(network, export_form(network, SIZES[1], linear, True), torch.randn(1, 3, *SIZES[1]))


@pytest.mark.parametrize('output_stride', (8, 16))
@pytest.mark.parametrize('arch', ('xx_small', 'xx_small_bn_hs'))
def test_the_form_of_dense_networks_is_equal_to_them(arch, output_stride):
    network = backbone(arch, output_stride=output_stride, position_stages=(1, 2, 3))
    for size in SIZES:
        for options in (dict(), dict(linear=True), dict(norm_in_means=True)):
            check(network, export_form(network, size, **options), torch.randn(1, 3, *size))


def test_maps_are_not_transposed_and_positions_are_constant():
    form = export_form(backbone('xx_small'), SIZES[0], norm_in_means=True)
    graph = torch.jit.freeze(torch.jit.trace(form, torch.rand(1, 3, *SIZES[0])))
    used = {node.kind() for node in graph.inlined_graph.nodes()}
    assert not used & {'aten::unbind', 'aten::baddbmm', 'aten::permute', 'aten::sin'}
