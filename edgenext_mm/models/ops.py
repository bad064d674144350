"""The operations in which the blocks spend their time.

A feature map is (N, C, H, W) in channels-last memory. Its tokens are the same memory seen as
(N, H, W, C), so that going from one to the other copies nothing.
"""

import copy
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

# PyTorch before 2.3 has is_compiling elsewhere, and before 2.7 no is_exporting.
_is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._dynamo.is_compiling
_is_exporting = getattr(torch.compiler, 'is_exporting', lambda: False)
_outer_hooks = getattr(torch._C._autograd, '_top_saved_tensors_default_hooks', lambda _: None)
_hooks_allowed = torch._C._autograd._saved_tensors_hooks_is_enabled  # type: ignore[attr-defined]
_TORCH_BEFORE_2_4 = not hasattr(torch, 'get_autocast_dtype')
_HAS_ONEDNN = torch.backends.mkldnn.is_available()
# Without AVX-512, oneDNN gains nothing by packed weights and loses by the activation on the way
# (tools/benchmark_products.py).
_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == 'AVX512'
_FUSED = (nn.GELU, nn.Hardswish)
_lending = threading.RLock()  # Threads may infer by one model, and must not see each other's loans.


def to_tokens(x: torch.Tensor) -> torch.Tensor:
    """View a map (N, C, H, W) as tokens (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def to_map(tokens: torch.Tensor) -> torch.Tensor:
    """View tokens (N, H, W, C) as a map (N, C, H, W)."""
    return tokens.permute(0, 3, 1, 2)


def is_captured(x: torch.Tensor) -> bool:
    """Tell whether operations are recorded, transformed or counted, and not only executed."""
    return (
        type(x) not in (torch.Tensor, nn.Parameter)
        or _is_compiling()
        or torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def compiles() -> bool:
    """Tell whether torch.compile records the operations, and not torch.export."""
    return _is_compiling() and not _is_exporting()


def compiles_for_training() -> bool:
    """Tell whether torch.compile records a forward pass that has a backward pass."""
    return compiles() and torch.is_grad_enabled()


def _autocast_dtype(device: str) -> torch.dtype | None:
    """Return the type of mixed precision on 'cpu' or 'cuda'; None if it is off."""
    if not _TORCH_BEFORE_2_4:
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def _casts_to_float16(x: torch.Tensor) -> bool:
    """Tell whether mixed precision in float16 is on, for a tensor on a CPU or CUDA GPU."""
    device = x.device.type if isinstance(x, torch.Tensor) else ''  # a proxy of torch.fx has none
    return device in ('cpu', 'cuda') and _autocast_dtype(device) == torch.float16


def behind_layer_scale(
    branch: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    gamma: torch.Tensor | None,
    *modules: nn.Module,
) -> torch.Tensor:
    """Compute what a layer scale multiplies, with gradients that float16 can hold.

    Layer scales start at 1e-6, and the gradients behind them would be under the numbers of float16.
    Under float16 autocast they are therefore divided by the layer scale all through the branch, and
    multiplied again where they leave it: towards ``x``, and in float32 towards the parameters. A
    backward hook on a layer of the branch sees them divided.

    Args:
        branch: a function of ``x`` and of the parameters of ``modules``.
        x: its input.
        gamma: the layer scale, or None.
        modules: whose parameters the branch uses.

    Returns:
        ``branch(x)``.
    """
    if gamma is None or not torch.is_grad_enabled() or not _casts_to_float16(gamma):
        return branch(x)
    scale = gamma.detach().abs().amax().clamp(min=1e-12)
    with _scaled_gradients(modules, scale, gamma):
        y = branch(_scale_gradient(x, scale))
    return _scale_gradient(y.float(), 1 / scale)


@contextmanager
def _scaled_gradients(
    modules: Iterable[nn.Module], factor: torch.Tensor, gamma: torch.Tensor
) -> Iterator[None]:
    """Multiply the gradients that parameters but gamma get from what is computed meanwhile."""
    with nullcontext() if _is_compiling() else _lending:
        lent = [
            (place, name, tensor, _scale_gradient(tensor, factor))
            for module in modules
            for layer in module.modules()
            for place in cast(list[dict], [layer._parameters, vars(layer)])  # DataParallel's place
            for name, tensor in place.items()
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad and tensor is not gamma
        ]
        try:
            for place, name, _, scaled in lent:
                place[name] = scaled
            yield
        finally:
            for place, name, tensor, scaled in lent:
                if place[name] is scaled:
                    place[name] = tensor


def _scale_gradient(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return ``x`` as it is, with another gradient."""
    fixed = x.detach()
    return fixed + factor * (x - fixed)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a map, eps 1e-6."""

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if compiles_for_training():
            # With other image sizes, Inductor specializes on the size, or fails (PyTorch issue
            # 185510), if a four-dimensional view is what the backward pass needs.
            tokens = to_tokens(x).flatten(1, 2)
            tokens = F.layer_norm(tokens, self.normalized_shape, eps=self.eps)
            out = tokens.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
            return out.to(tokens.dtype)  # that of autocast
        return to_map(super().forward(to_tokens(x)))


class _LinearType(type):
    """Makes a class equal to nn.Linear: torch.ao.quantization looks for that type exactly."""

    def __eq__(cls, other: object) -> bool:
        return other is nn.Linear or cls is other

    def __hash__(cls) -> int:
        return hash(nn.Linear)


class Pointwise(nn.Linear, metaclass=_LinearType):
    """nn.Linear on tokens, by the faster of PyTorch's two products on a CPU.

    These are MKL's, behind F.linear, and oneDNN's, which adds bias and activation on the way.
    ``tools/benchmark_products.py`` prints the times behind the choice (docs/performance.md).
    """

    packs = False
    """Whether the layer, which then only infers, may keep its weight in oneDNN's layout as well."""
    _packed: tuple[torch.Tensor, torch.Tensor, int] | None = None

    def forward(self, x: torch.Tensor, act: nn.Module | None = None) -> torch.Tensor:
        """Map tokens (N, H, W, in_features) to tokens (N, H, W, out_features).

        Args:
            x: the tokens.
            act: an activation of which :func:`can_fuse` says that the result may have it already.
        """
        if is_captured(x):
            if compiles() and not torch.is_grad_enabled() and x.is_cpu and x.ndim == 4:
                x = self._convolve(x)  # which Inductor gives to oneDNN
                return x if act is None else _activate(act, x)
        elif x.is_cpu and type(self.weight) is nn.Parameter:
            # Beyond the caches, F.linear loses time with a pass for the bias.
            widest = max(self.in_features, self.out_features)
            on_onednn = x.numel() // self.in_features * widest > 1_500_000 or _prefers_onednn()
            if torch.is_grad_enabled():
                if on_onednn and _convolves_by_onednn(x):
                    return self._convolve(x)
            elif (
                (on_onednn or (_HAS_AVX512 and (act is not None or self.packs)))
                and x.dtype == self.weight.dtype == torch.float32
                and _HAS_ONEDNN
                and _autocast_dtype('cpu') is None
            ):
                weight = self._packed_weight() if self.packs else self.weight
                post_op = _post_op(act if _HAS_AVX512 else None)
                x = torch.ops.mkldnn._linear_pointwise.default(x, weight, self.bias, *post_op)
                return x if act is None or _HAS_AVX512 else _activate(act, x)
        x = super().forward(x)
        return x if act is None else _activate(act, x)

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        return to_tokens(F.conv2d(to_map(x), self.weight[:, :, None, None], self.bias))

    def _packed_weight(self) -> torch.Tensor:
        """Pack the weight if it has changed; what is changed in place by ``.data`` goes unseen."""
        weight = self.weight.detach()
        # PyTorch 2.3 packs for one number of tokens. Inference tensors do not count their changes.
        if _TORCH_BEFORE_2_4 or not _HAS_AVX512 or weight.is_inference():
            return weight
        version = weight._version
        if self._packed is not None:
            packed, source, packed_version = self._packed
            # The source is kept, so that no other weight can come to its address.
            if source.data_ptr() == weight.data_ptr() and packed_version == version:
                return packed
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._packed = packed, weight, version
        return packed

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), '_packed': None}  # which cannot be copied


@lru_cache
def _prefers_onednn() -> bool:
    """Tell whether oneDNN's product is in use at every size: on AMD's processors with AVX-512.

    MKL's has half of its speed on some of them, and no more on others (docs/performance.md).
    """
    cpuinfo = Path('/proc/cpuinfo')
    vendor = cpuinfo.read_text() if cpuinfo.is_file() else platform.processor()
    return _HAS_AVX512 and 'AuthenticAMD' in vendor


def _convolves_by_onednn(x: torch.Tensor) -> bool:
    """Tell what PyTorch does with a 1x1 convolution: elsewhere it copies (use_mkldnn in ATen)."""
    threads = torch.get_num_threads()
    return x.ndim == 4 and (len(x) >= 16 or threads > 1) and (len(x) > 1 or x.numel() > 20480)


def _post_op(act: Any) -> tuple[str, list, str]:
    """Return what oneDNN calls an activation."""
    if act is None:
        return 'none', [], ''
    return ('hardswish', [], '') if isinstance(act, nn.Hardswish) else ('gelu', [], act.approximate)


def _activate(act: Any, x: torch.Tensor) -> torch.Tensor:
    """Apply one of the activations in place, which saves the time of new pages."""
    if isinstance(act, nn.Hardswish):
        return F.hardswish(x, inplace=True)
    return torch.ops.aten.gelu_(x, approximate=act.approximate)


def can_fuse(x: torch.Tensor, first: nn.Module, act: nn.Module, second: nn.Module) -> bool:
    """Tell whether two layers and the activation between them may work on ``x`` as one.

    They may where nobody sees what is between them: without gradients, and if none has a hook or
    another ``forward``.
    """
    return not (
        torch.is_grad_enabled()
        or is_captured(x)
        or not (type(first) is type(second) is Pointwise and type(act) in _FUSED)
        or _is_hooked(first, act, second)
    )


def is_changed(module: nn.Module) -> bool:
    """Tell whether calling a module may do something else than its class says."""
    own = 'forward' in vars(module) or 'parametrizations' in module._modules
    return bool(own or module._forward_hooks or module._forward_pre_hooks)


def _is_hooked(*modules: nn.Module) -> bool:
    return bool(any(map(is_changed, modules)) or _global_forward_hooks or _global_forward_pre_hooks)


@contextmanager
def recomputed(module: nn.Module, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Give ``module(x)`` to layers that compute it again for their backward pass, from ``x``.

    They would keep it otherwise: what comes out of an activation is the largest tensor of a block.
    They do keep it inside of checkpointing and the like, which save more, and if the module has a
    hook, which may change the result, or works in place, or is neither LayerNorm2d, nor GELU, nor
    Hardswish; and what has been changed in place since.
    """
    cheap = type(module) in (*_FUSED, LayerNorm2d) and not getattr(module, 'inplace', False)
    if (
        not (cheap and torch.is_grad_enabled())
        or _is_hooked(module)
        or is_captured(x)
        or _outer_hooks(0)
        or not _hooks_allowed()
    ):
        yield module(x)
        return
    y, x, module = module(x), x.detach(), copy.copy(module)
    module._parameters = {**module._parameters}  # functional_call lends others for the forward pass
    place, dtype = (y.data_ptr(), y.numel(), y._version), y.dtype

    def pack(saved):
        is_y = (saved.data_ptr(), saved.numel(), saved._version) == place
        return (saved.size(), saved.stride()) if is_y else saved

    def unpack(packed):
        is_y = isinstance(packed, tuple)
        return module.forward(x).to(dtype).as_strided(*packed) if is_y else packed

    with saved_tensors_hooks(pack, unpack):
        yield y
