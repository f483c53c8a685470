"""What a card refuses, and in which words.

PyTorch's meta kernels refuse in words of their own, and let some pass that a card refuses. The words are asked from the
host: its kernel gets operands of the same shapes and types, whose memory is never touched, because it checks first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

aten = torch.ops.aten

_CHECKED_AT_MOST = 2**28
"""Bytes of operands up to which the host is asked: should it not refuse, it computes."""
_CARD_WORDS = (
    (r"\bmeta\b", "cuda:0"), (r"\btorch\.(?=[A-Z]\w*Tensor\b)", "torch.cuda."), (r"_cpu\b", "_cuda"),
    (r"\bMeta(\w+)Type\b", r"torch.cuda.\1Tensor"),
)


def in_words_of_a_card(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> Exception:
    """The error that a card raises where a meta kernel raised this one."""
    kind, text = _said_on_host(func, args, kwargs) or (type(error), str(error))
    return kind(of_a_card(text))


def of_a_card(text: str) -> str:
    """The same sentence with the card's names of devices and types."""
    for pattern, words in _CARD_WORDS:
        text = re.sub(pattern, words, text)
    return text


def _said_on_host(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[type[Exception], str] | None:
    """Not the error itself, whose frames would keep it and the operands alive in a circle."""
    try:
        if sum(tensor.nbytes for tensor in _tensors((*args, *kwargs.values()))) > _CHECKED_AT_MOST:
            return None
        operands, options = _on_host(args), {name: _on_host(value) for name, value in kwargs.items()}
    except RuntimeError:  # no such memory, or no such tensor on the host
        return None
    try:
        func(*operands, **options)
    except (RuntimeError, IndexError, ValueError) as error:
        return None if str(error).startswith("Could not run") else (type(error), str(error))
    return None


def _tensors(values: Any) -> list[torch.Tensor]:
    found = [value for value in values if isinstance(value, torch.Tensor)]
    for value in values:
        if isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


def _on_host(value: Any) -> Any:
    """Indices are zeros: they lie within."""
    if isinstance(value, torch.Tensor):
        if not value.is_meta:
            return value
        twin = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="cpu")
        return twin if value.is_floating_point() else twin.zero_()
    if isinstance(value, (list, tuple)):
        return [_on_host(item) for item in value]
    return torch.device("cpu") if isinstance(value, torch.device) else value


def _name(dtype: torch.dtype) -> str:
    """As ATen calls it: `Half`, `Float`, `Long`."""
    return torch.empty(0, dtype=dtype, device="cpu").type().removeprefix("torch.").removesuffix("Tensor")


def _name_in_cpp(dtype: torch.dtype) -> str:
    return {"Half": "c10::Half", "BFloat16": "c10::BFloat16"}.get(_name(dtype), _name(dtype).lower())


def _mm(left: torch.Tensor, right: torch.Tensor) -> None:
    """aten/src/ATen/native/cuda/Blas.cpp; shapes are looked at first."""
    if left.dtype is not right.dtype and left.shape[1:] == right.shape[:1]:
        raise RuntimeError(
            "expected mat1 and mat2 to have the same dtype, "
            f"but got: {_name_in_cpp(left.dtype)} != {_name_in_cpp(right.dtype)}")


def _addmm(added: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *scales: Any) -> None:
    """aten/src/ATen/native/LinearAlgebra.cpp."""
    for role, operand in (("self", added), ("mat1", left)):
        if operand.dtype is not right.dtype:
            raise RuntimeError(
                f"{role} and mat2 must have the same dtype, but got {_name(operand.dtype)} and {_name(right.dtype)}")


def _bmm(*matrices: torch.Tensor) -> None:
    left, right = matrices[-2:]
    if left.dtype is not right.dtype:
        raise RuntimeError(f"expected scalar type {_name(left.dtype)} but found {_name(right.dtype)}")


def _unlike_types(*operands: torch.Tensor) -> str:
    types = [f"torch.{'cuda.' if one.is_meta else ''}{_name(one.dtype)}Tensor" for one in operands]
    return f"Input type ({types[0]}) and weight type ({types[1]}) should be the same"


def _convolution(tensor: torch.Tensor, weight: torch.Tensor, bias: Any, *options: Any) -> None:
    """aten/src/ATen/native/Convolution.cpp."""
    if tensor.dtype is not weight.dtype:
        raise RuntimeError(_unlike_types(tensor, weight))
    is_transposed, shape = options[3], list(weight.shape)
    if is_transposed and tensor.shape[1] != shape[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {shape}, expected input{list(tensor.shape)} to have {shape[0]} "
            f"channels, but got {tensor.shape[1]} channels instead")
    if not is_transposed and bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"Given weight of size {shape}, expected bias to be 1-dimensional with {shape[0]} elements, but got bias "
            f"of size {list(bias.shape)} instead")


def _softmax(tensor: torch.Tensor, dim: int, to_float: bool) -> None:
    """aten/src/ATen/native/cuda/SoftMax.cu."""
    last = max(tensor.dim(), 1) - 1
    if not -last - 1 <= dim <= last:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-last - 1}, {last}], but got {dim})")
    if not tensor.is_floating_point():
        raise NotImplementedError(f"\"host_softmax\" not implemented for '{_name(tensor.dtype)}'")


def _index_select(tensor: torch.Tensor, dim: int, index: torch.Tensor) -> None:
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.dtype not in (torch.int32, torch.int64):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")


def _class_targets(tensor: torch.Tensor, target: torch.Tensor, *options: Any) -> None:
    """aten/src/ATen/native/cuda/NLLLoss2d.cu, Loss.cu."""
    if target.dim() <= 1 and target.dtype not in (torch.int64, torch.uint8):
        raise NotImplementedError(
            f"\"nll_loss_forward_reduce_cuda_kernel_2d_index\" not implemented for '{_name(target.dtype)}'")


REFUSALS: dict[Any, Callable[..., None]] = {
    aten.mm.default: _mm,
    aten.addmm.default: _addmm,
    aten.bmm.default: _bmm,
    aten.convolution.default: _convolution,
    aten._softmax.default: _softmax,
    aten._log_softmax.default: _softmax,
    aten.index_select.default: _index_select,
    aten.nll_loss_forward.default: _class_targets,
}
"""What a card refuses and a meta kernel does not, by operator; called once for each kind of operands."""


def refuse_mask(index: torch.Tensor, tensor: torch.Tensor, position: int) -> None:
    """A mask covers dimensions of the tensor one to one, from `position` on."""
    for offset, size in enumerate(index.shape):
        at = position + offset
        if at >= tensor.dim() or tensor.shape[at] != size:
            raise IndexError(
                f"The shape of the mask {list(index.shape)} at index {offset} does not match the shape of the indexed "
                f"tensor {list(tensor.shape)} at index {at}")
