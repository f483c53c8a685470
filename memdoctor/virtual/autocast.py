"""CUDA's autocast on meta tensors: which operators are cast is asked from PyTorch, how is said here.

PyTorch's own kernels at `AutocastCUDA` are present in every build but cast only real CUDA tensors. These take their
place; the key is included in the thread's dispatch state where autocast is on, since meta tensors do not carry it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from memdoctor.virtual.patches import Patches
from memdoctor.virtual.registration import overload, registered

_KEY = torch._C.DispatchKey.AutocastCUDA
_KEYS = torch._C.DispatchKeySet(_KEY)

_LOWER_PRECISION = (
    "_convolution", "_scaled_dot_product_flash_attention", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "addbmm",
    "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul", "conv1d", "conv2d", "conv3d", "conv_tbc",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "cudnn_convolution",
    "cudnn_convolution_transpose", "einsum", "gru_cell", "linalg_multi_dot", "linalg_vecdot", "linear", "lstm_cell",
    "matmul", "mm", "mv", "prelu", "rnn_relu_cell", "rnn_tanh_cell", "scaled_dot_product_attention",
)
_WIDEST = (
    "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put", "tensordot",
    "scatter_add",
)
_SINGLE_PRECISION_RESULT = (
    "prod", "softmax", "log_softmax", "cumprod", "cumsum", "linalg_vector_norm", "linalg_matrix_norm", "sum", "norm",
)
"""They read their input as it is, and are asked for a float32 result (`fp32_set_opt_dtype`).

All lists: aten/src/ATen/autocast_mode.h. What PyTorch casts and is in no list is cast to float32.
"""


class Autocast:
    """The kernels, and the cache of cast weights of the region that is open."""

    def __init__(self) -> None:
        self._cache: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextlib.contextmanager
    def installed(self, patches: Patches) -> Iterator[None]:
        """Register a kernel for every operator that PyTorch casts on CUDA; all are gone at the end."""
        switch, clear = torch.set_autocast_enabled, torch.clear_autocast_cache
        patches.set(torch, "set_autocast_enabled", _with_key(switch))
        patches.set(torch, "clear_autocast_cache", self._clearing(clear))
        with registered({name: self._kernel(name) for name in _cast_operators()}, "AutocastCUDA"):
            try:
                yield
            finally:
                self._cache.clear()
                torch._C._dispatch_tls_set_dispatch_key_included(_KEY, False)

    def _clearing(self, clear: Callable[[], None]) -> Callable[[], None]:
        def clear_autocast_cache() -> None:
            clear()
            self._cache.clear()
        return clear_autocast_cache

    def _kernel(self, name: str) -> Callable[..., Any]:
        operator = overload(name)
        adapt = self._treatment(name, operator)

        def kernel(*args: Any, **kwargs: Any) -> Any:
            with torch._C.DisableTorchFunction(), torch._C._ExcludeDispatchKeyGuard(_KEYS):
                call, cast, options = adapt(operator, args, kwargs)
                out = call(*cast, **options)
                cast = _first_to_go_last(cast)
                return out
        return kernel

    def _treatment(self, name: str, operator: Any) -> Callable[..., Any]:
        plain = name.partition(".")[0]
        if plain in _LOWER_PRECISION:
            return lambda call, args, kwargs: self._cast(call, args, kwargs, torch.get_autocast_dtype("cuda"))
        if plain in _WIDEST:
            return lambda call, args, kwargs: self._cast(call, args, kwargs, _widest(args))
        if plain in _SINGLE_PRECISION_RESULT:
            return _ask_single_precision
        return lambda call, args, kwargs: self._cast(call, args, kwargs, torch.float32)

    def _cast(self, call: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
        """Last argument first: the order in which the compiled kernels evaluate, and so the order of allocations."""
        cast_kwargs = {name: self._cast_value(value, dtype) for name, value in reversed(kwargs.items())}
        return call, [self._cast_value(value, dtype) for value in reversed(args)][::-1], cast_kwargs

    def _cast_value(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, torch.Tensor):
            return self._cast_tensor(value, dtype) if _is_eligible(value) and value.dtype is not dtype else value
        if isinstance(value, (list, tuple)):
            return [self._cast_value(item, dtype) for item in value]
        return value

    def _cast_tensor(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if not _is_weight(tensor) or dtype is torch.float32 or not torch.is_autocast_cache_enabled():
            return tensor.to(dtype)
        known = self._cache.get(id(tensor))
        if known is None:
            with torch.enable_grad():  # so that one made without a graph serves later uses that have one
                known = self._cache[id(tensor)] = (tensor, tensor.to(dtype))
        return known[1]


def _first_to_go_last(args: Sequence[Any]) -> list[Any]:
    """Python drops a list from its end; the compiled kernels destroy their casts in the order of the arguments."""
    return list(reversed(args))


def _cast_operators() -> list[str]:
    """Asked by key: to ask each of three thousand operators takes as long as all else of entering a card.

    The one that PyTorch's kernel only refuses keeps it.
    """
    names = torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
    return [
        name.removeprefix("aten::") for name in names
        if name.startswith("aten::") and name != "aten::binary_cross_entropy"
    ]


def _with_key(switch: Callable[..., None]) -> Callable[..., None]:
    def set_autocast_enabled(*args: Any) -> None:
        """`(device, enabled)`, and the older `(enabled)`, which means CUDA."""
        switch(*args)
        if len(args) == 1 or args[0] == "cuda":
            torch._C._dispatch_tls_set_dispatch_key_included(_KEY, args[-1])
    return set_autocast_enabled


def _is_eligible(tensor: torch.Tensor) -> bool:
    return tensor.is_meta and tensor.is_floating_point() and tensor.dtype is not torch.float64


def _is_weight(tensor: torch.Tensor) -> bool:
    """What the cache holds: float32 leaves that are trained; in inference mode nothing."""
    return (
        tensor.dtype is torch.float32
        and tensor.requires_grad
        and tensor.is_leaf
        and not tensor._is_view()
        and not torch.is_inference_mode_enabled()
    )


def _widest(args: tuple[Any, ...]) -> torch.dtype:
    tensors = [item for value in args for item in (value if isinstance(value, (list, tuple)) else (value,))]
    wide = any(isinstance(item, torch.Tensor) and item.is_meta and item.dtype is torch.float32 for item in tensors)
    return torch.float32 if wide else torch.get_autocast_dtype("cuda")


def _ask_single_precision(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not _is_eligible(args[0]) or _has_dtype(operator, args, kwargs):
        return operator, args, kwargs
    if operator is torch.ops.aten.norm.Scalar:
        return torch.ops.aten.norm.ScalarOpt_dtype, (args[0], *(args[1:] or (2,))), {"dtype": torch.float32}
    if operator is torch.ops.aten.norm.ScalarOpt_dim:
        keepdim = args[3:] or (False,)  # a default, which C++ leaves out and this overload does not have
        return torch.ops.aten.norm.ScalarOpt_dim_dtype, (*args[:3], *keepdim), {**kwargs, "dtype": torch.float32}
    names = [argument.name for argument in operator._schema.arguments]
    if names.index("dtype") < len(args):
        return operator, (*args[: names.index("dtype")], torch.float32, *args[names.index("dtype") + 1:]), kwargs
    return operator, args, {**kwargs, "dtype": torch.float32}


def _has_dtype(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    names = [argument.name for argument in operator._schema.arguments]
    if "dtype" not in names:
        return False
    position = names.index("dtype")
    return (args[position] if position < len(args) else kwargs.get("dtype")) is not None
