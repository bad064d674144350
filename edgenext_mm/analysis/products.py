"""Times of operations that EdgeNeXt can choose from on a CPU."""

import random
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

PRODUCTS = ('F.linear', 'convolution', 'oneDNN', 'packed', 'F.linear, GELU', 'oneDNN, GELU')


def measure_products(
    in_features: int, out_features: int, side: int, batch_size: int, runs: int = 20
) -> dict[str, float]:
    """Return the median seconds of the products of a layer, measured in shuffled order.

    Args:
        in_features: channels of the map.
        out_features: channels of the result.
        side: of the map in pixels.
        batch_size: number of maps.
        runs: calls of each product.

    Returns:
        Seconds by the names of :data:`PRODUCTS`: F.linear is MKL's product, the convolution of
        kernel 1x1 is what PyTorch makes of it, and oneDNN's product takes the weight as it is or
        packed.

    Example:
        >>> from edgenext_mm.analysis.products import PRODUCTS, measure_products
        >>> seconds = measure_products(8, 32, side=4, batch_size=2, runs=2)
        >>> tuple(seconds) == PRODUCTS and min(seconds.values()) > 0
        True
    """
    x = torch.randn(batch_size, side, side, in_features)
    weight, bias = torch.randn(out_features, in_features), torch.randn(out_features)
    kernel, onednn = weight[:, :, None, None], torch.ops.mkldnn._linear_pointwise.default
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    products: dict[str, Callable[[], torch.Tensor]] = {
        'F.linear': lambda: F.linear(x, weight, bias),
        'convolution': lambda: F.conv2d(x.permute(0, 3, 1, 2), kernel, bias),
        'oneDNN': lambda: onednn(x, weight, bias, 'none', [], ''),
        'packed': lambda: onednn(x, packed, bias, 'none', [], ''),
        'F.linear, GELU': lambda: torch.ops.aten.gelu_(F.linear(x, weight, bias)),
        'oneDNN, GELU': lambda: onednn(x, weight, bias, 'gelu', [], 'none'),
    }
    return _measure(products, runs)


def measure_norms(
    num_heads: int, channels: int, tokens: int, batch_size: int, runs: int = 20
) -> dict[str, float]:
    """Return the median seconds of two ways to divide by norms along the tokens.

    Args:
        num_heads: of the attention.
        channels: of a head.
        tokens: number of them.
        batch_size: number of maps.
        runs: calls of each.

    Returns:
        Seconds of 'F.normalize' and of the 'sum of squares'.

    Example:
        >>> from edgenext_mm.analysis.products import measure_norms
        >>> [*measure_norms(num_heads=2, channels=4, tokens=9, batch_size=1, runs=2)]
        ['F.normalize', 'sum of squares']
    """
    qkv = torch.randn(batch_size, tokens, 3, num_heads, channels)
    q = qkv.transpose(1, 3)[:, :, 0]
    norms: dict[str, Callable[[], torch.Tensor]] = {
        'F.normalize': lambda: F.normalize(q, dim=2),
        'sum of squares': lambda: q / q.square().sum(2, keepdim=True).clamp(min=1e-24).sqrt(),
    }
    return _measure(norms, runs)


def _measure(functions: dict[str, Callable[[], torch.Tensor]], runs: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    with torch.no_grad():
        for run in range(runs + 3):
            for name in random.sample([*functions], len(functions)):
                start = time.perf_counter()
                functions[name]()
                if run >= 3:  # after a warm-up
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
