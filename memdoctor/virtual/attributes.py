"""What a tensor of the card says about itself: device, address, text; and what it refuses."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.device import CardDevice, Function, Handler


def _device(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return mode.device_of(args[0]) if mode.on_card(args[0]) else func(*args)


def _is_cuda(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return mode.on_card(args[0])


def _is_meta(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return bool(args[0].is_meta) and not mode.on_card(args[0])


def _get_device(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return mode.device_of(args[0]).index if mode.on_card(args[0]) else int(func(*args))


def _data_ptr(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The simulated address: equal for views that begin together, different for different blocks."""
    tensor = args[0]
    record = mode.ledger.storages.get(tensor.untyped_storage()._cdata) if tensor.is_meta else None
    if record is None or record.block is None:
        return int(func(*args))
    return record.block.address + int(tensor.storage_offset() * tensor.element_size())


def _itself(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Host memory is not pinned here: there is no card that could read it."""
    return args[0]


def _not_pinned(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return False


def _record_stream(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    tensor, stream = args
    mode.ledgers[mode.device_of(tensor).index].record_stream(tensor.untyped_storage(), stream.stream_id)


def _numpy(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not mode.on_card(args[0]):
        return func(*args, **kwargs)
    if not kwargs.get("force"):
        raise TypeError(
            f"can't convert {mode.device_of(args[0])} device type tensor to numpy. "
            "Use Tensor.cpu() to copy the tensor to host memory first."
        )
    return func(args[0].detach().cpu(), *args[1:], **kwargs)


def _format(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """`f"{loss:.4f}"`: the original refuses meta tensors, and looks at them without this mode."""
    tensor, specification = args
    if mode.on_card(tensor) and tensor.dim() == 0:
        return format(tensor.item(), specification)
    if mode.on_card(tensor) and not specification:
        return _repr(mode, torch.Tensor.__repr__, (tensor,), {})
    return str(func(*args))


def _repr(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """As on a card: the host's text with the device in front of `dtype=`, `grad_fn=` and `requires_grad=`."""
    tensor = args[0]
    if not mode.on_card(tensor):
        return str(func(*args, **kwargs))
    text = func(tensor.detach().cpu(), **kwargs)
    head, separator, dtype = text.removesuffix(")").partition(", dtype=")
    graph = f", grad_fn=<{tensor.grad_fn.name()}>" if tensor.grad_fn is not None else ""
    if not graph and tensor.requires_grad:
        graph = ", requires_grad=True"
    return f"{head}, device='{mode.device_of(tensor)}'{separator}{dtype}{graph})"


def _array_interface(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What other libraries read an address from; there is nothing at this one."""
    tensor = args[0]
    if not mode.on_card(tensor):
        return func(*args)
    size = tensor.element_size()
    strides = None if tensor.is_contiguous() else tuple(stride * size for stride in tensor.stride())
    kind = torch.empty(0, dtype=tensor.dtype, device="cpu").numpy().dtype.str
    address = _data_ptr(mode, torch.Tensor.data_ptr, (tensor,), {})
    return {"typestr": kind, "shape": tuple(tensor.shape), "strides": strides, "data": (address, False), "version": 2}


def _dlpack_device(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return (_DLPACK_CUDA, mode.device_of(args[0]).index) if mode.on_card(args[0]) else func(*args)


_DLPACK_CUDA = 2
"""`kDLCUDA` of dlpack.h."""


def _dlpack(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if mode.on_card(args[0]):
        raise BufferError(
            "memdoctor's virtual GPU has no memory that another library could read: a tensor of it cannot be exported "
            "with DLPack. torch.from_dlpack(tensor) works.")
    return func(*args, **kwargs)


def _deepcopy(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """On a card the copy begins as a tensor of one element, before it is given the copied storage."""
    tensor, memo = args
    is_known = id(tensor) in memo
    copy = func(tensor, memo)
    if mode.on_card(tensor) and not is_known:
        with mode.ledgers[mode.device_of(tensor).index].scratch([tensor.element_size()]):
            return copy
    return copy


def _getter(name: str) -> Any:
    """The key under which a tensor's attribute arrives: method wrappers of one attribute are equal, not identical."""
    return getattr(torch.Tensor, name).__get__


ATTRIBUTES: dict[Any, Handler] = {
    _getter("device"): _device,
    _getter("is_cuda"): _is_cuda,
    _getter("is_meta"): _is_meta,
    torch.Tensor.get_device: _get_device,
    torch.get_device: _get_device,
    torch.Tensor.data_ptr: _data_ptr,
    torch.Tensor.pin_memory: _itself,
    torch.Tensor.record_stream: _record_stream,
    torch.Tensor.is_pinned: _not_pinned,
    _getter("__cuda_array_interface__"): _array_interface,
    torch.Tensor.__dlpack__: _dlpack,
    torch.Tensor.__dlpack_device__: _dlpack_device,
    torch.Tensor.__deepcopy__: _deepcopy,
    torch.Tensor.numpy: _numpy,
    torch.Tensor.__array__: _numpy,
    torch.Tensor.__format__: _format,
    torch.Tensor.__repr__: _repr,
}
