"""What PyTorch says to operands on several devices. Worded as torch 2.12 does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from memdoctor.virtual.sparse_parts import parts
from memdoctor.virtual.storage_record import StorageRecord

Storages = Mapping[int, StorageRecord]

_POINTWISE = ("mse_loss", "smooth_l1_loss")
"""They iterate over elements too, and have no tag that says so."""
_STRUCTURED = frozenset({
    "mm", "addmm", "bmm", "baddbmm", "addmv", "cat", "nll_loss_forward", "nll_loss_backward", "gather", "_softmax",
    "_log_softmax", "sum", "mean", "topk", "sort",
})
"""Their wrappers have one underscore less in their names."""
_SPECIAL: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "embedding": lambda argument, first: ("index", "index_select"),
    "stack": lambda argument, first: (argument, "cat"),
    "convolution": lambda argument, first: (
        argument, "_slow_conv2d_forward" if first == "cpu" else "cudnn_convolution"),
}
"""Operators that reach the card as another one: its argument and its name."""
_NUMBERS = {torch.float32: "Float", torch.float64: "Double", torch.float16: "Half", torch.bfloat16: "BFloat16"}


def card_of(storages: Storages, tensor: torch.Tensor) -> int | None:
    """The number of the card that a tensor is on; None where its storage is none of a card's."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return card_of(storages, torch._C._functorch.get_unwrapped(tensor))
    if tensor.layout is not torch.strided:
        return card_of(storages, parts(tensor)[-1])
    record = storages.get(tensor.untyped_storage()._cdata)
    return None if record is None else record.device


def mixture(storages: Storages, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RuntimeError:
    """The error that names the first operand that is elsewhere than those before it.

    Operators that iterate over elements name two devices, others the argument, as on a card.
    """
    name = func._schema.name.removeprefix("aten::")
    operands = [(argument, tensor, _device(storages, tensor)) for argument, tensor in _operands(func, args, kwargs)]
    if torch.Tag.pointwise in func.tags or name in _POINTWISE:
        return RuntimeError(f"{_FOUND} found at least two devices, {_two_devices(operands)}!")
    first = operands[0][2]
    argument, _, device = next((each for each in operands if each[2] != first), operands[-1])
    if name in _SPECIAL:
        argument, name = _SPECIAL[name](argument, first)
    if name in ("index", "index_put", "index_put_"):
        return RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor ({first})")
    if name == "cudnn_convolution" and device == "cpu":
        types = [_type(tensor, where) for _, tensor, where in operands[:2]]
        return RuntimeError(f"Input type ({types[0]}) and weight type ({types[1]}) should be the same")
    return RuntimeError(
        f"{_FOUND} got {argument} is on {device}, different from other tensors on {first} "
        f"(when checking argument in method wrapper_CUDA_{name if name in _STRUCTURED else f'_{name}'})")


_FOUND = "Expected all tensors to be on the same device, but"


def _two_devices(operands: list[tuple[str, torch.Tensor, str]]) -> str:
    """The first card, and the first other device; scalars of the host do not count."""
    devices = [device for _, tensor, device in operands if device != "cpu" or tensor.dim()]
    common = next(device for device in devices if device != "cpu")
    return f"{common} and {next((device for device in devices if device != common), 'cpu')}"


def _type(tensor: torch.Tensor, device: str) -> str:
    return f"torch.{'' if device == 'cpu' else 'cuda.'}{_NUMBERS.get(tensor.dtype, '')}Tensor"


def _device(storages: Storages, tensor: torch.Tensor) -> str:
    return f"cuda:{card_of(storages, tensor) or 0}" if tensor.is_meta else str(tensor.device)


def _operands(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors with the names of their arguments, in the order of the schema."""
    names = [argument.name for argument in func._schema.arguments]
    for name, value in (*zip(names, args), *kwargs.items()):
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, torch.Tensor):
                yield name, item
