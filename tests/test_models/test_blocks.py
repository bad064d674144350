"""The blocks against the definitions of the paper, an operation at a time."""

import copy

import pytest
import torch
import torch.nn.functional as F
from golden import assert_maps_close, randomize

from edgenext_mm.analysis.candidates import Candidate
from edgenext_mm.deploy import switch_to_deploy
from edgenext_mm.models import EdgeNeXt, blocks
from edgenext_mm.models.blocks import ConvEncoder, CrossCovarianceAttention, SDTAEncoder

TINY = dict(depths=(1, 1, 2, 2), dims=(8, 16, 24, 32), num_heads=4)
VARIANTS = [dict(TINY), dict(TINY, bn_hs=True)]


def plain_mlp(block, x):
    x = block.pwconv2(block.act(block.pwconv1(block.norm(x).permute(0, 2, 3, 1))))
    return (block.gamma * x).permute(0, 3, 1, 2)


def plain_position(encoding, height, width):
    """One pixel after the other, with all channels projected at once."""
    half = torch.arange(encoding.hidden_dim // 2)
    angles = [
        2
        * torch.pi
        * torch.arange(1, size + 1)[:, None]
        / (size + 1e-6)
        / encoding.temperature ** (2 * half / encoding.hidden_dim)
        for size in (height, width)
    ]
    y, x = (torch.stack((a.sin(), a.cos()), 2).flatten(1) for a in angles)
    map_ = torch.stack([torch.cat((row, column)) for row in y for column in x], 1)
    return encoding.token_projection(map_.view(1, -1, height, width))


def plain_block(block, x):
    """The blocks as the paper defines them, an operation at a time."""
    if isinstance(block, ConvEncoder):
        return x + plain_mlp(block, block.dwconv(x))
    *groups, last = x.split(block.widths, dim=1)
    outs = []
    for conv, group in zip(block.convs, groups, strict=True):
        outs.append(conv(group + outs[-1] if outs else group))
    y = torch.cat((*outs, last), 1)
    if block.normalized_shortcut:
        y = block.norm_xca(y)
    if block.pos_embd is not None:
        y = y + plain_position(block.pos_embd, *y.shape[2:])
    tokens = y if block.normalized_shortcut else block.norm_xca(y)
    tokens = tokens.flatten(2).transpose(1, 2)
    q, k, v = (
        part.unflatten(2, (block.xca.num_heads, -1)).permute(0, 2, 3, 1)
        for part in block.xca.qkv(tokens).chunk(3, dim=2)
    )
    attn = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    out = (attn * block.xca.temperature).softmax(-1) @ v
    out = block.gamma_xca * block.xca.proj(out.flatten(1, 2).transpose(1, 2))
    y = y + out.transpose(1, 2).unflatten(2, y.shape[2:])
    return x + plain_mlp(block, y)


def plain_forward(model, x):
    outs = []
    for downsample, stage in zip(model.downsample_layers, model.stages, strict=True):
        x = downsample(x)
        for block in stage:
            x = plain_block(block, x)
        outs.append(x)
    return outs


@pytest.mark.parametrize('arch', VARIANTS)
@pytest.mark.parametrize('output_stride', [8, 16, 32])
@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients(arch, output_stride, with_cp):
    model = randomize(EdgeNeXt(arch, output_stride=output_stride, with_cp=with_cp))
    plain = copy.deepcopy(model)
    images = torch.randn(3, 3, 75, 101)
    results = []
    for network, forward in ((model, model), (plain, lambda x: plain_forward(plain, x))):
        x = images.clone().requires_grad_()
        maps = forward(x)
        sum((m * torch.linspace(-1, 1, m.numel()).view_as(m)).mean() for m in maps).backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        results.append((maps, {**gradients, 'image': x.grad}))
    (maps, gradients), (expected_maps, expected) = results
    assert_maps_close(maps, expected_maps)
    for name, gradient in expected.items():
        scale = max(gradient.abs().max(), 1e-6)
        assert (gradients[name] - gradient).abs().max() <= 1e-4 * scale, name


@pytest.mark.parametrize('piece', [1, 50_000, 2**22])
def test_inference_in_pieces(piece, monkeypatch):
    """Of one image, of two, and of all three."""
    monkeypatch.setattr(blocks, 'PIECE', piece)
    model = randomize(EdgeNeXt(TINY))
    x = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        assert_maps_close(model(x), plain_forward(model, x))


def test_inference_frees_what_it_no_longer_needs():
    """What is left is the stage's input, the block's, the middle of four maps, and the result."""
    model = EdgeNeXt('xx_small', out_indices=(0,)).eval()
    memory = Candidate('backbone', model, model).memory(torch.randn(1, 3, 128, 128))
    assert memory < 8 * 24 * 32 * 32 * 4  # and some memory of oneDNN's


def test_without_gradients_and_in_other_types():
    model = randomize(EdgeNeXt(TINY))
    for batch in (1, 3):
        x = torch.randn(batch, 3, 64, 96)
        with torch.inference_mode():
            maps = [m.clone() for m in model(x)]
        assert_maps_close(maps, plain_forward(model, x))
    double = copy.deepcopy(model).double()
    for size in ((64, 96), (96, 64)):
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert_maps_close([m.float() for m in double(x.double())], model(x))
    with torch.autocast('cpu', torch.bfloat16):
        loss = sum(m.float().square().mean() for m in model(x))
    loss.backward()
    assert all(p.grad.dtype == p.dtype for p in model.parameters())


@pytest.mark.skipif(
    not hasattr(torch.compiler, 'is_compiling'),
    reason='PyTorch before 2.3 has no float16 autocast on the CPU',
)
def test_many_tokens_in_half_precision():
    """The sums over 6,400 tokens are beyond the numbers of float16."""
    torch.manual_seed(0)
    attention = CrossCovarianceAttention(16, 4)
    x = 8 * torch.randn(1, 80, 80, 1) + torch.randn(2, 80, 80, 16)
    with torch.no_grad():
        attention.qkv.weight.mul_(3)
        expected = attention(x)
        with torch.autocast('cpu', torch.float16):
            out = attention(x).float()
    assert (out - expected).abs().max() <= 0.02 * expected.abs().max()


def test_traces_for_other_batches():
    model = randomize(EdgeNeXt(TINY))
    traced = torch.jit.trace(model, torch.randn(1, 3, 64, 96), check_trace=False)
    x = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        assert_maps_close(traced(x), plain_forward(model, x))


def test_position_encoding():
    encoding = EdgeNeXt(TINY).stages[1][-1].pos_embd
    before = encoding(torch.empty(1, 16, 5, 7))
    assert before.shape == (1, 16, 5, 7)
    assert (before - plain_position(encoding, 5, 7)).abs().max() < 1e-5


compiles = pytest.mark.skipif(
    not hasattr(torch.compiler, 'is_compiling'), reason='PyTorch before 2.3 breaks the graph'
)


@pytest.mark.slow
@compiles
@pytest.mark.parametrize('arch', VARIANTS)
def test_compiles_into_one_graph_for_all_sizes(arch):
    torch.compiler.reset()
    model = randomize(EdgeNeXt(dict(arch, depths=(1, 1, 1, 1))))
    deployed = switch_to_deploy(model, inplace=False)
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = {
        name: torch.compile(network, backend=backend, fullgraph=True, dynamic=True)
        for name, network in (('train', model), ('deploy', deployed))
    }
    for shape in ((2, 3, 64, 96), (3, 3, 96, 64), (5, 3, 70, 130)):
        x = torch.randn(shape)
        with torch.no_grad():
            expected = plain_forward(model, x)
            assert_maps_close(compiled['deploy'](x), expected)
        assert_maps_close(compiled['train'](x), expected)
    assert len(graphs) == 2


@compiles
@pytest.mark.slow
@pytest.mark.parametrize('arch', [TINY, pytest.param(VARIANTS[1], marks=pytest.mark.soak)])
def test_compiled_deploy_form(arch):
    """Inductor's code of a convolution encoder and of an SDTA encoder with position encoding."""
    torch.compiler.reset()
    model = randomize(EdgeNeXt(dict(arch, depths=(1, 1, 1, 1)), out_indices=(0, 1)))
    deployed = torch.compile(switch_to_deploy(model, inplace=False))
    x = torch.randn(2, 3, 64, 96)
    # It would import PyTorch three times to try whether the processor has what it says.
    with torch.no_grad(), torch._inductor.config.patch({'cpp.vec_isa_ok': True}):
        assert_maps_close(deployed(x), model(x))


@compiles
@pytest.mark.soak
def test_compiled_training():
    """Inductor's one code for all sizes, forward and backward, gives the eager form's gradients."""
    torch.compiler.reset()
    model = randomize(EdgeNeXt(dict(TINY, depths=(1, 1, 1, 1)), out_indices=(0, 1))).train()
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, dynamic=True)
    graphs = torch._dynamo.utils.counters['stats']
    before = graphs['unique_graphs']
    for shape in ((2, 3, 64, 96), (3, 3, 75, 101), (2, 3, 160, 128)):
        x = torch.randn(shape)
        for network, forward in ((model, model), (twin, compiled)):
            network.zero_grad()
            sum(m.square().mean() for m in forward(x)).backward()
        for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
            assert (p.grad - q.grad).abs().max() <= 1e-4 * p.grad.abs().max(), name
    assert graphs['unique_graphs'] == before + 1


def test_blocks_are_the_two_of_the_paper():
    blocks = [type(block) for stage in EdgeNeXt(TINY).stages for block in stage]
    assert blocks.count(SDTAEncoder) == 3 and blocks.count(ConvEncoder) == 3


@compiles
def test_compiled_norm_has_the_eager_type():
    torch.compiler.reset()
    stem = randomize(EdgeNeXt(TINY)).downsample_layers[0]
    compiled = torch.compile(stem, backend='eager')
    x = torch.randn(1, 3, 64, 64)
    for autocast in (False, True):
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            eager, other = stem(x), compiled(x)
        assert eager.dtype == other.dtype == (torch.bfloat16 if autocast else torch.float32)
        assert_maps_close([other.float()], [eager.float()], 0.05)
