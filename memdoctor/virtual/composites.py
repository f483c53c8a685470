"""Operators that PyTorch puts together differently on CUDA than elsewhere.

Their kernels stand at `AutogradMeta`, above autograd, so that what is saved for backward is what CUDA saves; callers in
C++ are caught as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from memdoctor.virtual.attention import ATTENTION, added_mask, attention_backend, operands_fit
from memdoctor.virtual.cards import Card
from memdoctor.virtual.kernels.memory_formats import is_like_channels_last
from memdoctor.virtual.operators.batch_norm import is_native
from memdoctor.virtual.products import cumulative_product_backward, product, product_along
from memdoctor.virtual.recorder import Recorder, Rule
from memdoctor.virtual.recurrent import recurrent_kernels
from memdoctor.virtual.registration import overload
from memdoctor.virtual.renormalized import renormalized
from memdoctor.virtual.root_mean_square import root_mean_square_norm

aten = torch.ops.aten


def composite_kernels(card: Card) -> dict[str, Callable[..., Any]]:
    """Kernels for `AutogradMeta` by operator."""
    def scaled_dot_product_attention(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
    ) -> Any:
        with torch._C.DisableTorchFunction():
            is_fused = operands_fit(query, key, value)
            backend = attention_backend(card, query, key, value, attn_mask, dropout_p) if is_fused else "math"
            mask = added_mask(attn_mask, query.dtype)
            return ATTENTION[backend](query, key, value, mask, dropout_p, is_causal, scale)

    return {
        "batch_norm": _batch_norm,
        "ctc_loss.Tensor": _ctc_loss,
        "cumprod_backward": cumulative_product_backward,
        "dropout": _dropout,
        "linear": _linear,
        "log_softmax.int": _softmax(aten.log_softmax.int, aten._log_softmax.default),
        "mish_backward": _mish_backward,
        "one_hot": _one_hot,
        "prod": product,
        "prod.dim_int": product_along,
        "renorm": renormalized,
        "scaled_dot_product_attention": scaled_dot_product_attention,
        "softmax.int": _softmax(aten.softmax.int, aten._softmax.default),
        **({"_fused_rms_norm": root_mean_square_norm} if hasattr(aten, "_fused_rms_norm") else {}),
        **recurrent_kernels(),
    }


def composite_rules(card: Card) -> dict[Any, Rule]:
    """The same kernels for the recorder: without autograd, in inference mode, operators arrive whole there."""
    def rule_of(kernel: Callable[..., Any]) -> Rule:
        def rule(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            with recorder:
                return kernel(*args, **kwargs)
        return rule

    return {
        overload(name): rule_of(kernel) for name, kernel in composite_kernels(card).items()
        if torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "CompositeImplicitAutograd")}


def _composite(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """PyTorch's own way to put it together, with the kernels above still in place for its parts."""
    return operator._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)


def _batch_norm(
    tensor: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, *rest: Any
) -> torch.Tensor:
    """cuDNN gets a contiguous copy, and this is saved (`_batch_norm_impl_index`, native/Normalization.cpp)."""
    with torch._C.DisableTorchFunction():
        if weight is not None and bias is not None and not is_native(tensor):
            is_last = is_like_channels_last(tensor.shape, tensor.stride())
            tensor = tensor.contiguous(memory_format=_last(tensor) if is_last else torch.contiguous_format)
        out: torch.Tensor = _composite(aten.batch_norm.default, tensor, weight, bias, *rest)
        return out


def _last(tensor: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d


def _dropout(tensor: torch.Tensor, p: float, train: bool) -> torch.Tensor:
    """Fused on CUDA: a mask of bytes is saved, not one of floats (aten/src/ATen/native/Dropout.cpp)."""
    with torch._C.DisableTorchFunction():
        if train and 0 < p < 1 and tensor.numel():
            out: torch.Tensor = aten.native_dropout(tensor, p, train)[0]
            return out
        whole: torch.Tensor = _composite(aten.dropout.default, tensor, p, train)
        return whole


def _linear(tensor: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """With a bias on an input that is not contiguous: the bias is added in place."""
    with torch._C.DisableTorchFunction():
        if bias is None or tensor.dim() == 2 or tensor.is_contiguous():
            out: torch.Tensor = _composite(aten.linear.default, tensor, weight, bias)
            return out
        return torch.matmul(tensor, weight.t()).add_(bias)


def _softmax(operator: Any, kernel: Any) -> Callable[..., torch.Tensor]:
    """From float16 to floats in one kernel; bfloat16 is converted before (aten/src/ATen/native/SoftMax.cpp)."""
    def softmax(tensor: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        with torch._C.DisableTorchFunction():
            out: torch.Tensor = (
                kernel(tensor, dim, True) if tensor.dtype is torch.float16 and dtype is torch.float32
                else _composite(operator, tensor, dim, dtype))
            return out
    return softmax


def _mish_backward(grad: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """One kernel on CUDA; put together from its parts elsewhere."""
    with torch._C.DisableTorchFunction():
        if torch.is_grad_enabled():
            whole: torch.Tensor = _composite(aten.mish_backward.default, grad, tensor)
            return whole
        return torch.empty_like(tensor)


def _one_hot(tensor: torch.Tensor, num_classes: int = -1) -> torch.Tensor:
    """Written into zeros on CUDA; on the meta device, and while a mode is in place, compared with every class."""
    with torch._C.DisableTorchFunction():
        if num_classes <= 0 or not tensor.numel():
            whole: torch.Tensor = _composite(aten.one_hot.default, tensor, num_classes)
            return whole
        return tensor.new_zeros((*tensor.shape, num_classes)).scatter_(-1, tensor.unsqueeze(-1), 1)


def _ctc_loss(
    log_probs: torch.Tensor, targets: torch.Tensor, input_lengths: torch.Tensor, target_lengths: torch.Tensor,
    *options: Any,
) -> Any:
    """The lengths are read; only while a mode is in place PyTorch would compute with them as tensors."""
    with torch._C.DisableTorchFunction():
        return aten.ctc_loss.IntList(log_probs, targets, input_lengths.tolist(), target_lengths.tolist(), *options)
