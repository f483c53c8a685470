"""Calls that move a tensor to the card, or make one there from data on the host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.utils import _device as default_device

from memdoctor.virtual.between import copied
from memdoctor.virtual.device import META, CardDevice, Function, Handler, is_card, is_meta, number_of
from memdoctor.virtual.patches import Patches

HOST = torch.device("cpu")


def _cuda(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`tensor.cuda(0)`: whatever is asked for here is the card."""
    tensor, *rest = args
    device = rest[0] if rest else kwargs.get("device")
    is_card(device)
    layout = {name: value for name, value in kwargs.items() if name == "memory_format"}
    return _to(mode, torch.Tensor.to, (tensor, torch.device("cuda", number_of(device))), layout)


def _to(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target = args[1] if len(args) > 1 else kwargs.get("device", kwargs.get("other"))
    if isinstance(target, torch.Tensor):
        device = mode.device_of(target) if mode.on_card(target) else target.device
        return _to(mode, torch.Tensor.to, (args[0], device, target.dtype, *args[2:]), _without_device(kwargs))
    if isinstance(target, torch.dtype):
        return func(*args, **kwargs)
    if is_card(target):
        options = _without_device(kwargs)
        return _to_card(mode, args[0], target, lambda tensor, meta: func(tensor, meta, *args[2:], **options))
    if target is not None and is_meta(target):
        leaves_card = mode.on_card(args[0]) and (isinstance(target, str) or _moves_module(sys._getframe(2)))
        with mode.ledger.foreign_births():
            return func(*args, **{**kwargs, **({"copy": True} if leaves_card and len(args) < 5 else {})})
    return func(*args, **kwargs)


def _moves_module(frame: FrameType) -> bool:
    """Whether `module.to` asks; PyTorch's own code says meta where it means the card (`clip_grad_norm_`)."""
    return frame.f_code.co_name == "convert" and frame.f_code.co_filename == torch.nn.modules.module.__file__


def _without_device(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in ("device", "other")}


def _to_card(
    mode: CardDevice, tensor: torch.Tensor, device: Any, to: Callable[[torch.Tensor, torch.device], Any]
) -> Any:
    if not tensor.is_meta:
        return to(tensor, mode.meta(device))
    if not mode.on_card(tensor):
        raise NotImplementedError(
            "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
            "torch.nn.Module.to() when moving module from meta to a different device."
        )
    source = mode.device_of(tensor)
    if number_of(device) == source.index:
        return to(tensor, META)
    return copied(tensor, source, lambda tensor: to(tensor, mode.meta(device)))


def _from_data(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.tensor` and its kin build on the host and copy, as on a card; a meta device would drop the values."""
    device = kwargs.get("device", default_device.CURRENT_DEVICE)
    args = (_read(args[0]), *args[1:]) if args and isinstance(args[0], (list, tuple)) else args
    if not is_card(device):
        return mode.call(func, args, {**kwargs, "device": device})
    wants_grad = kwargs.get("requires_grad", False)
    host = func(*args, **{**kwargs, "device": HOST, "requires_grad": False})
    return host.to(mode.meta(device)).requires_grad_(wants_grad)


def _read(data: Any) -> Any:
    """The card's tensors among plain numbers are read one by one, as on a card."""
    if isinstance(data, torch.Tensor):
        return data.tolist() if data.is_meta else data
    return [_read(item) for item in data] if isinstance(data, (list, tuple)) else data


def _as_tensor(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, dtype = args[0], kwargs.get("dtype")
    device = kwargs.get("device", default_device.CURRENT_DEVICE)
    if mode.on_card(data) and (device is None or is_card(device)):
        return _to(mode, torch.Tensor.to, (data, device or mode.device_of(data), dtype or data.dtype), {})
    if not is_card(device):
        return func(*args, **kwargs)
    return func(_read(data), dtype=dtype, device=HOST).to(mode.meta(device))


def _new_tensor(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    like, *data = args
    device = kwargs.get("device", mode.device_of(like) if mode.on_card(like) else like.device)
    return _from_data(mode, torch.tensor, tuple(data), {"dtype": like.dtype, **kwargs, "device": device})


def _new(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`tensor.new(indices, values, size)`, by which `SparseAdam` makes sparse tensors; there is none on meta."""
    if args[0].is_meta and args[0].layout is torch.sparse_coo and len(args) == 4:
        return torch.sparse_coo_tensor(*args[1:], check_invariants=False)
    return func(*args, **kwargs)


def _type(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`tensor.type()` and `tensor.type("torch.cuda.FloatTensor")`."""
    tensor, *rest = args
    wanted = rest[0] if rest else kwargs.get("dtype")
    if wanted is None:
        name: str = torch.empty(0, dtype=tensor.dtype, device=HOST).type()
        return name.replace("torch.", "torch.cuda.") if mode.on_card(tensor) else name
    if isinstance(wanted, type):
        wanted = f"{wanted.__module__}.{wanted.__name__}"
    if not isinstance(wanted, str):
        return func(*args, **kwargs)
    dtype = torch.empty(0, device=HOST).type(wanted.replace(".cuda.", ".")).dtype
    if ".cuda." not in wanted:
        return tensor.to(HOST, dtype)
    device = mode.device_of(tensor) if mode.on_card(tensor) else torch.device("cuda")
    return _to(mode, torch.Tensor.to, (tensor, device, dtype), {})


def _set_data(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`parameter.data = parameter.data.cuda()`: the parameter stays the same object, as for a move of its module."""
    tensor, data = args
    if tensor.is_meta == data.is_meta:
        return func(*args)
    moved = data.detach().requires_grad_(tensor.requires_grad)
    swap_tensors: Any = torch.utils.swap_tensors
    swap_tensors(tensor, torch.nn.Parameter(moved) if isinstance(tensor, torch.nn.Parameter) else moved)


def _share_memory(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Tensors of a card are always shared."""
    return args[0] if mode.on_card(args[0]) else func(*args, **kwargs)


PLACEMENT: dict[Any, Handler] = {
    torch.Tensor.cuda: _cuda,
    torch.Tensor.to: _to,
    torch.Tensor.type_as: _to,
    torch.Tensor.type: _type,
    torch.Tensor.new: _new,
    torch.Tensor.new_tensor: _new_tensor,
    torch.tensor: _from_data,
    torch.asarray: _as_tensor,
    torch.as_tensor: _as_tensor,
    torch.Tensor.data.__set__: _set_data,  # type: ignore[attr-defined]  # a getter of C
    torch.Tensor.share_memory_: _share_memory,
}


def patch_placement(patches: Patches) -> None:
    """Calls that no function mode sees: parsing of `module.to(0)`, and what becomes of results of tensor subclasses."""
    patches.set(torch._C._nn, "_parse_to", _parse_to(torch._C._nn._parse_to))
    patches.set(torch, "from_dlpack", _from_dlpack(vars(torch)["from_dlpack"]))
    patches.set(torch.Tensor, "as_subclass", _as_subclass(torch.Tensor.as_subclass))


def _from_dlpack(original: Callable[..., Any]) -> Callable[..., Any]:
    def from_dlpack(ext_tensor: Any, **options: Any) -> Any:
        """An alias, as on a card; capsules of the card's tensors there are none."""
        if isinstance(ext_tensor, torch.Tensor) and ext_tensor.is_cuda:
            return ext_tensor.detach()
        return original(ext_tensor, **options)
    return from_dlpack


def _parse_to(original: Callable[..., Any]) -> Callable[..., Any]:
    """For `module.to(0)`: the number of a card, which a build without CUDA refuses to read."""
    def parse_to(*args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], int):
            return original(torch.device("cuda", args[0]), *args[1:], **kwargs)
        return original(*args, **kwargs)
    return parse_to


def _as_subclass(original: Callable[..., Any]) -> Callable[..., Any]:
    """The alias that becomes an instance of the subclass must not be a Python object yet; below a mode it would be."""
    def converted(tensor: torch.Tensor, kind: type) -> Any:
        with torch._C._DisableTorchDispatch():
            return original(tensor, kind)
    return converted
