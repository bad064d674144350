"""The network under the tools of PyTorch, which see its modules and operations."""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import timm
import torch
import torch.nn as nn
import torch.nn.functional as F
from golden import assert_maps_close, randomize
from timm.models._features import FeatureHooks
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor

from edgenext_mm.errors import InputError
from edgenext_mm.models import EdgeNeXt, blocks, ops
from edgenext_mm.models.blocks import ConvEncoder
from edgenext_mm.models.ops import LayerNorm2d, Pointwise

TINY = dict(depths=(1, 2, 2, 2), dims=(8, 16, 24, 32), num_heads=4)
FAMILIES = [TINY, dict(TINY, bn_hs=True), dict(TINY, dims=(8, 16, 32, 64), overlap=True)]
families = pytest.mark.parametrize('arch', FAMILIES, ids=['plain', 'bn_hs', 'overlap'])
TORCH = tuple(map(int, torch.__version__.split('.')[:2]))


@pytest.fixture
def x():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def linears(model):
    return {name: module for name, module in model.named_modules() if type(module) is Pointwise}


@families
def test_hooks_see_every_module(arch, x):
    """What they keep is the same with and without gradients, and nothing overwrites it."""
    model = randomize(EdgeNeXt(arch, out_norm=True))
    called = {
        name
        for name, module in model.named_modules()
        if name and not isinstance(module, (nn.ModuleList, nn.ModuleDict))
    }
    runs = []
    for gradients in (True, False):
        kept = {}

        def keep(module, args, y, name, kept=kept):
            kept[name] = y.detach(), y.detach().clone()

        handles = [
            model.get_submodule(name).register_forward_hook(partial(keep, name=name))
            for name in called
        ]
        with torch.set_grad_enabled(gradients):
            model(x)
        for handle in handles:
            handle.remove()
        assert kept.keys() == called
        assert all(torch.equal(y, at_once) for y, at_once in kept.values())
        runs.append([kept[name][0] for name in sorted(called)])
    assert_maps_close(runs[1], runs[0])


@pytest.mark.parametrize('where', ['everywhere', 'pwconv1', 'act', 'pwconv2'])
def test_hooks_of_one_kind(where, x, monkeypatch):
    """One of them is enough for the layers to work one by one, on all images at once."""
    monkeypatch.setattr(blocks, 'PIECE', 1)
    model = randomize(EdgeNeXt(TINY))
    block = model.stages[0][0]
    kept = {}

    def keep(module, args, y):
        if isinstance(module, (Pointwise, nn.GELU)):
            assert module not in kept
            kept[module] = args[0], y

    if where == 'everywhere':
        handle = nn.modules.module.register_module_forward_hook(keep)
    else:
        handle = block.get_submodule(where).register_forward_hook(keep)
    with handle, torch.no_grad():
        model(x)
    for module, (inputs, outputs) in kept.items():
        assert len(inputs) == len(outputs) == len(x)
        if isinstance(module, nn.GELU):
            assert_maps_close([outputs], [F.gelu(inputs)])
        else:
            assert_maps_close([outputs], [F.linear(inputs, module.weight, module.bias)])
    assert len(kept) == 27 if where == 'everywhere' else [*kept] == [block.get_submodule(where)]


@families
def test_feature_extraction(arch, x):
    """By timm's hooks, and by torchvision's, which takes the network apart with torch.fx."""
    model = randomize(EdgeNeXt(arch))
    names = ['stages.0', 'stages.1.1.pwconv1', 'stages.3.1.xca.qkv']
    hooks = FeatureHooks(names, model.named_modules())
    with torch.no_grad():
        expected = model(x)
        by_timm = hooks.get_output(x.device).values()
        by_torchvision = create_feature_extractor(model, names)(x).values()
    assert torch.equal(next(iter(by_timm)), expected[0])
    assert_maps_close(by_timm, by_torchvision)


@families
def test_fx_traces_for_all_sizes(arch, x):
    model = randomize(EdgeNeXt(arch))
    with torch.autocast('cpu', torch.float16 if TORCH >= (2, 3) else torch.bfloat16):
        traced = torch.fx.symbolic_trace(model)
    for images in (x, x[:1, :, :33, :70]):
        assert_maps_close(traced(images), model(images))


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@families
def test_dynamic_quantization(arch, x):
    model = randomize(EdgeNeXt(arch))
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    changed = [m for m in quantized.modules() if type(m) is torch.ao.nn.quantized.dynamic.Linear]
    assert len(changed) == len(linears(model)) > 0
    with torch.no_grad():
        for y, expected in zip(quantized(x), model(x), strict=True):
            assert 0 < (y - expected).std() < 0.05 * expected.std()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(nn.Module, 'compile'), reason='PyTorch before 2.2')
def test_layer_compiled_by_itself(x):
    torch.compiler.reset()
    model = randomize(EdgeNeXt(TINY, out_indices=(0,)))
    with torch.no_grad():
        expected = model(x)
        model.stages[0][0].pwconv1.compile(backend='eager')
        assert_maps_close(model(x), expected)


class Adapter(nn.Module):
    """As LoRA puts it in the place of a Linear layer."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


@families
def test_adapters_learn(arch, x):
    model = randomize(EdgeNeXt(arch))
    adapted = copy.deepcopy(model)
    for name, module in linears(adapted).items():
        adapted.set_submodule(name, Adapter(module)) if TORCH >= (2, 5) else setattr(
            adapted.get_submodule(name.rpartition('.')[0]), name.rpartition('.')[2], Adapter(module)
        )
    assert_maps_close(adapted(x), model(x))
    sum(m.square().mean() for m in adapted(x)).backward()
    ups = [m.up.weight for m in adapted.modules() if isinstance(m, Adapter)]
    assert len(ups) == len(linears(model)) and all(up.grad.any() for up in ups)
    with torch.no_grad():
        for up in ups:
            up -= 0.1 * up.grad
        assert (adapted(x)[3] - model(x)[3]).abs().max() > 1e-3 * model(x)[3].std()


@families
@pytest.mark.parametrize('tool', ['prune', 'weight_norm'])
def test_reparametrized_weights_train(arch, tool, x):
    model = randomize(EdgeNeXt(arch)).train()
    for module in linears(model).values():
        if tool == 'prune':
            prune.l1_unstructured(module, 'weight', 0.5)
        else:
            parametrizations.weight_norm(module)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        loss = sum(m.square().mean() for m in model(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]
    model.eval()
    with torch.no_grad():
        expected = model(x)
    assert_maps_close(model(x), expected)
    weight = model.stages[0][0].pwconv1.weight
    if tool == 'prune':
        assert (weight == 0).float().mean() == pytest.approx(0.5, abs=0.01)


@families
def test_double_backward(arch):
    """Of a block of each kind, where the activation is computed again."""
    torch.manual_seed(0)
    model = randomize(EdgeNeXt(arch)).double()
    for block in (model.stages[0][0], model.stages[1][1]):
        dim = block.pwconv1.in_features
        x = torch.randn(1, dim, 3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(block, x, fast_mode=True)
        assert torch.autograd.gradgradcheck(block, x, fast_mode=True)


@families
def test_function_transforms(arch, x):
    """Gradients for single images, by vmap, and derivatives forward."""
    model = randomize(EdgeNeXt(arch))
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, image):
        maps = functional_call(model, weights, (image[None],))
        return sum(m.square().mean() for m in maps)

    per_image = vmap(grad(loss), in_dims=(None, 0))(weights, x)
    for i, image in enumerate(x):
        model.zero_grad()
        loss(dict(model.named_parameters()), image).backward()
        for name, p in model.named_parameters():
            scale = max(p.grad.abs().max(), 1e-6)
            assert (per_image[name][i] - p.grad).abs().max() <= 1e-3 * scale, name

    tangents = {name: torch.zeros_like(p) for name, p in weights.items()}
    tangents['stages.0.0.pwconv2.weight'] += 1
    _, derivative = jvp(lambda weights: loss(weights, x[1]), (weights,), (tangents,))
    expected = model.stages[0][0].pwconv2.weight.grad.sum().item()
    assert derivative == pytest.approx(expected, rel=1e-3)
    with torch.no_grad():
        assert_maps_close(
            vmap(lambda image: model(image[None]))(x)[3][:, 0][None], model(x)[3][None]
        )


@families
def test_fake_tensors_leave_no_trace(arch, x):
    model = randomize(EdgeNeXt(arch))
    expected = model(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        maps = model(mode.from_tensor(x))
    assert [m.shape for m in maps] == [m.shape for m in expected]
    assert_maps_close(copy.deepcopy(model)(x), expected)


@families
def test_counts_operations_without_gradients(arch, x):
    model = EdgeNeXt(arch).eval()
    counts = []
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients), FlopCounterMode(display=False) as counter:
            model(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.slow
@families
@pytest.mark.skipif(TORCH < (2, 6), reason='PyTorch before 2.6 has no Dim.AUTO')
@pytest.mark.parametrize('named', [False, True])
def test_export(arch, named, x):
    """For all batches and sizes, in the operations of the modules."""
    model = randomize(EdgeNeXt(arch))
    if named:
        dims = {i: torch.export.Dim(f'side{i}', min=64, max=1024) for i in (2, 3)}
        dims[0] = torch.export.Dim('batch')
    else:
        dims = {i: torch.export.Dim.AUTO for i in (0, 2, 3)}
    program = torch.export.export(model, (x,), dynamic_shapes=(dims,))
    for shape in ((1, 3, 64, 64), (3, 3, 70, 133)):
        images = torch.randn(shape)
        assert_maps_close(program.module()(images), model(images))
    names = [node.target.__name__ for node in program.graph.nodes if node.op == 'call_function']
    norms = [m for m in model.modules() if isinstance(m, LayerNorm2d)]
    assert names.count('layer_norm.default') == len(norms)
    assert names.count('linear.default') == len(linears(model))


@pytest.mark.slow
@pytest.mark.skipif(TORCH < (2, 6), reason='torch.export as it is now')
def test_exported_graph_is_no_larger_than_timms():
    x = torch.randn(2, 3, 64, 64)
    peer = timm.create_model('edgenext_xx_small', num_classes=0, features_only=True).eval()
    ours, theirs = (
        len(torch.export.export(model.eval(), (x,)).graph.nodes)
        for model in (EdgeNeXt('xx_small'), peer)
    )
    assert ours <= 1.05 * theirs


@pytest.mark.parametrize(
    'act',
    [nn.ReLU(), nn.SiLU(), nn.GELU('tanh'), nn.Hardswish(), nn.Hardswish(True), nn.ReLU(True)],
    ids=str,
)
@pytest.mark.parametrize('avx512', [True, False])
def test_other_activations(act, avx512, monkeypatch):
    monkeypatch.setattr(ops, '_HAS_AVX512', avx512)
    model = randomize(EdgeNeXt(TINY))
    block = model.stages[0][0]
    assert isinstance(block, ConvEncoder)
    block.act = act
    x = torch.randn(1, 8, 16, 16)
    tokens = block.norm(block.dwconv(x)).permute(0, 2, 3, 1)
    y = act(tokens @ block.pwconv1.weight.t() + block.pwconv1.bias)
    y = block.gamma * (y @ block.pwconv2.weight.t() + block.pwconv2.bias)
    expected = x + y.permute(0, 3, 1, 2)
    assert_maps_close([block(x)], [expected])
    with torch.no_grad():
        assert_maps_close([block(x)], [expected])
    gradients = [
        torch.autograd.grad(y.square().sum(), [*block.parameters()]) for y in (block(x), expected)
    ]
    for gradient, right in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, right)


has_float16 = pytest.mark.skipif(
    TORCH < (2, 3), reason='PyTorch before 2.3 has no float16 autocast on the CPU'
)


@has_float16
@pytest.mark.parametrize('scale', [2**8, 2**16])
def test_float16_keeps_the_layer_scale(x, scale):
    """At its first value, with loss scales from the first of PyTorch's GradScaler down."""
    torch.manual_seed(0)
    model = EdgeNeXt('xx_small').train()
    model.init_weights()
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast('cpu', torch.float16, enabled=enabled):
            logits = model(x)[3].mean((2, 3))
        (scale * F.cross_entropy(logits.float(), torch.tensor([1, 2]))).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, expected in gradients[0].items():
        error = (gradients[1][name] - expected).norm() / expected.norm()
        assert error < 0.02, (name, error)
    assert all(type(p) is torch.nn.Parameter for p in model.parameters())


@pytest.mark.parametrize('name', ['act', 'norm', 'pwconv1', 'pwconv2'])
@pytest.mark.parametrize('how', ['hook', 'forward'])
def test_modules_that_do_something_else(name, how):
    """Values and gradients are those of what a hook, or another ``forward``, makes of them."""
    block = randomize(EdgeNeXt(TINY)).stages[0][0]
    other = copy.deepcopy(block)
    module = block.get_submodule(name)
    if how == 'forward':
        forward = module.forward
        module.forward = lambda x: 3 * forward(x)
    elif name in ('act', 'norm'):
        module.register_forward_hook(lambda module, args, y: 3 * y)
    else:  # what the layer before it computes again for its backward pass is no longer its input
        module.register_forward_pre_hook(lambda module, args: (args[0].mul_(3),))
    scaled = other.get_submodule(name)
    scaled = (
        nn.Sequential(Scale(), scaled)
        if (how, name[:2]) == ('hook', 'pw')
        else nn.Sequential(scaled, Scale())
    )
    setattr(other, name, scaled)
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        assert_maps_close([block(x)], [other(x)], 1e-6)
    by_hand = torch.autograd.grad(other(x).square().sum(), [*other.parameters()])
    gradients = torch.autograd.grad(block(x).square().sum(), [*block.parameters()])
    for gradient, expected in zip(gradients, by_hand, strict=True):
        torch.testing.assert_close(gradient, expected)


class Scale(nn.Module):
    def forward(self, x):
        return 3 * x


@families
def test_gradients_of_weights_by_functional_call(arch, x):
    """Which are in the network for the forward pass only."""
    model = randomize(EdgeNeXt(arch))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(1.1).add_(0.1)
    weights = {name: p.detach().clone().requires_grad_() for name, p in twin.named_parameters()}
    with torch.autograd.graph.disable_saved_tensors_hooks('none'):
        loss = sum(m.square().mean() for m in twin(x))
    expected = torch.autograd.grad(loss, [*twin.parameters()])
    loss = sum(m.square().mean() for m in functional_call(model, weights, (x,)))
    for gradient, right in zip(
        torch.autograd.grad(loss, [*weights.values()]), expected, strict=True
    ):
        torch.testing.assert_close(gradient, right, rtol=1e-3, atol=1e-4 * right.abs().max().item())


@pytest.mark.parametrize('avx512', [True, False])
def test_inference_form_follows_its_weights(x, avx512, monkeypatch):
    """Changed in place, in inference mode too, put in by functional_call, or another parameter."""
    monkeypatch.setattr(ops, '_HAS_AVX512', avx512)
    model = randomize(EdgeNeXt(TINY))
    model.switch_to_deploy()
    with torch.inference_mode():
        twin = copy.deepcopy(model)
        twin(x)
        for p in twin.parameters():
            p.mul_(0.9)
        assert_maps_close(twin(x), copy.deepcopy(twin)(x), 1e-6)
    with torch.no_grad():
        model(x)
        for p in model.parameters():
            p.mul_(0.9)
        twin = copy.deepcopy(model)
        expected = twin(x)
        assert_maps_close(model(x), expected)
        other = {name: nn.Parameter(1.1 * p) for name, p in model.named_parameters()}
        twin.load_state_dict(other, strict=False)
        assert_maps_close(functional_call(model, other, (x,)), twin(x))
        assert_maps_close(model(x), expected)
        for scale in (0.9, 1.0, 1.1, 1.2):  # each time at addresses that the last ones had
            names = dict(model.named_parameters())
            y = functional_call(model, {k: nn.Parameter(scale * p) for k, p in names.items()}, (x,))
            twin.load_state_dict({k: scale * p for k, p in names.items()}, strict=False)
            assert_maps_close(y, twin(x))
        rounded = model.half().float()
        assert_maps_close(rounded(x), copy.deepcopy(rounded)(x), 1e-6)


@pytest.mark.parametrize('deployed', [False, True])
def test_forward_derivatives_without_gradients(deployed, x):
    model = randomize(EdgeNeXt(TINY))
    if deployed:
        model.switch_to_deploy()
    tangents = []
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients), torch.autograd.forward_ad.dual_level():
            y = model(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))[3]
            tangents.append(torch.autograd.forward_ad.unpack_dual(y).tangent.detach())
    assert_maps_close([tangents[1]], [tangents[0]])


def test_empty_batches_and_half_models(x):
    model = randomize(EdgeNeXt(TINY))
    with torch.no_grad():
        assert [len(m) for m in model(x[:0])] == [0] * 4
        expected = model(x)
        if TORCH >= (2, 3):
            with torch.autocast('cpu', torch.float16):
                assert_maps_close([m.float() for m in model.half()(x.half())], expected, 0.1)


def l1_prune(module):
    prune.l1_unstructured(module, 'weight', 0.5)


def another_forward(module):
    module.forward = F.relu


@pytest.mark.parametrize('name', ['stages.0.0.pwconv1', 'stages.0.0.norm', 'downsample_layers.1.1'])
@pytest.mark.parametrize(
    'change',
    [
        l1_prune,
        parametrizations.weight_norm,
        another_forward,
        lambda module: module.register_forward_hook(print),
        None,
    ],
    ids=['prune', 'weight_norm', 'forward', 'hook', 'replaced'],
)
def test_switch_refuses_changed_layers(name, change):
    model = randomize(EdgeNeXt(TINY))
    if change is None:
        parent, _, last = name.rpartition('.')
        setattr(model.get_submodule(parent), last, nn.Sequential(model.get_submodule(name)))
    else:
        change(model.get_submodule(name))
    with pytest.raises(InputError, match=f'^{name} has a hook, or is pruned, reparametrized or'):
        model.switch_to_deploy()
    assert not model.deployed


@has_float16
@pytest.mark.parametrize('arch', FAMILIES[:2], ids=['plain', 'bn_hs'])
def test_float16_in_threads(arch, x):
    """DataParallel's copies have the right gradients; threads leave a model as it is."""
    model = EdgeNeXt(arch, layer_scale_init_value=1e-3)

    def replicate(module):  # as torch.nn.parallel.replicate does for GPUs
        replica = module._replicate_for_data_parallel()
        replica._former_parameters = {}
        for name, child in module.named_children():
            setattr(replica, name, replicate(child))
        for name, p in module._parameters.items():
            if p is None:
                replica._parameters[name] = None
            else:
                setattr(replica, name, p.view_as(p))
                replica._former_parameters[name] = p
        return replica

    def gradients(model):
        with torch.autocast('cpu', torch.float16):
            loss = sum(m.float().square().mean() for m in model(x))
        return torch.autograd.grad(loss, parameters)

    parameters = [*model.parameters()]
    expected = gradients(model)
    for gradient, right in zip(gradients(replicate(model)), expected, strict=True):
        torch.testing.assert_close(gradient, right)
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(gradients, [model] * 8)]
    assert [*map(id, model.parameters())] == [*map(id, parameters)]
