"""Every way to say CUDA in a torch call, turned into the virtual card, whose meta tensors answer as CUDA's would.

One dictionary look-up per call: a function with a handler goes there, of all others only `device=` is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device as default_device

from memdoctor.virtual.tracebacks import without_our_frames

CARD = torch.device("cuda", 0)
META = torch.device("meta")

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def is_card(device: Any) -> bool:
    """Whether a device argument names the card; raises what CUDA raises for a card that is not there."""
    if isinstance(device, bool) or not isinstance(device, (torch.device, str, int)):
        return False
    if isinstance(device, int):
        named = torch.device("cuda", device)
    else:
        named = torch.device(device)
    if named.type == "cuda" and named.index not in (None, 0):
        raise _no_such_card()
    return named.type == "cuda"


def _no_such_card() -> Exception:
    kind = getattr(torch, "AcceleratorError", RuntimeError)
    error: Exception = kind("CUDA error: invalid device ordinal")
    return error


def on_card(tensor: Any) -> bool:
    """Whether this is a tensor of the card; host tensors and other objects are not."""
    return isinstance(tensor, torch.Tensor) and tensor.is_meta


class CardDevice(TorchFunctionMode):
    """One object for all threads; PyTorch pushes and pops it per thread."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        try:
            handler = HANDLERS.get(func)
            if handler is not None:
                return handler(func, args, kwargs or {})
            if kwargs is None or kwargs.get("device") is None:
                if default_device.CURRENT_DEVICE is None or func not in default_device._device_constructors():
                    return func(*args, **(kwargs or {}))
                kwargs = {**(kwargs or {}), "device": default_device.CURRENT_DEVICE}
            return func(*args, **placed(kwargs))
        except torch.OutOfMemoryError as error:
            del args, kwargs
            raise without_our_frames(error)


def placed(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The same arguments with the card as meta; what meta tensors refuse (pinning, CUDA generators) is left out."""
    if not is_card(kwargs.get("device")):
        return kwargs
    return {
        name: META if name == "device" else value
        for name, value in kwargs.items()
        if name not in ("pin_memory", "generator")
    }


def _device(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    device: torch.device = func(*args)
    return CARD if device.type == "meta" else device


def _is_cuda(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return on_card(args[0])


def _is_meta(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return False


def _get_device(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return 0 if on_card(args[0]) else int(func(*args))


def _cuda(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, *rest = args
    device = rest[0] if rest else kwargs.get("device")
    if device is not None and not is_card(device):
        return func(*args, **kwargs)
    if "memory_format" in kwargs:
        return tensor.to(META, memory_format=kwargs["memory_format"])
    return tensor.to(META)


def _to(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) > 1 and is_card(args[1]):
        args = (args[0], META, *args[2:])
    return func(*args, **placed(kwargs))


def _from_data(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.tensor` and its kin build on the host and copy, as on a card; a meta device would drop the values."""
    device = kwargs.get("device", default_device.CURRENT_DEVICE)
    if not is_card(device):
        return func(*args, **kwargs)
    wants_grad = kwargs.get("requires_grad", False)
    host = func(*args, **{**kwargs, "device": torch.device("cpu"), "requires_grad": False})
    return host.to(META).requires_grad_(wants_grad)


def _as_tensor(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device = args[2] if len(args) > 2 else kwargs.get("device", default_device.CURRENT_DEVICE)
    if on_card(args[0]) and (device is None or is_card(device)):
        return args[0].to(args[1] if len(args) > 1 else kwargs.get("dtype") or args[0].dtype)
    if not is_card(device):
        return func(*args, **kwargs)
    rest = {name: value for name, value in kwargs.items() if name != "device"}
    return func(*args[:2], device=torch.device("cpu"), **rest).to(META)


def _new_tensor(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device = kwargs.get("device", CARD if on_card(args[0]) else None)
    rest = {"dtype": args[0].dtype, **kwargs, "device": device}
    return _from_data(torch.tensor, args[1:], rest) if is_card(device) else func(*args, **kwargs)


def _type(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`tensor.type()` and `tensor.type("torch.cuda.FloatTensor")`."""
    tensor, *rest = args
    wanted = rest[0] if rest else kwargs.get("dtype")
    if wanted is None:
        name: str = torch.empty(0, dtype=tensor.dtype, device="cpu").type()
        return name.replace("torch.", "torch.cuda.") if on_card(tensor) else name
    if isinstance(wanted, type):
        wanted = f"{wanted.__module__}.{wanted.__name__}"
    if not isinstance(wanted, str):
        return func(*args, **kwargs)
    dtype = torch.empty(0, device="cpu").type(wanted.replace(".cuda.", ".")).dtype
    return tensor.to(META if ".cuda." in wanted else torch.device("cpu"), dtype)


def _itself(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0]


def _nothing(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    return None


def _not_pinned(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return False


def _numpy(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not on_card(args[0]):
        return func(*args, **kwargs)
    if kwargs.get("force"):
        return func(args[0].detach().cpu(), *args[1:], **kwargs)
    _refuse_numpy()


def _refuse_numpy() -> NoReturn:
    raise TypeError(
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
    )


def _format(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """`f"{loss:.4f}"`: the original refuses meta tensors, and looks at them without this mode."""
    tensor, specification = args
    if on_card(tensor) and tensor.dim() == 0:
        return format(tensor.item(), specification)
    if on_card(tensor) and not specification:
        return _repr(torch.Tensor.__repr__, (tensor,), {})
    text: str = func(*args)
    return text


def _repr(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """As on a card: the host's text with the device in front of `dtype=`, `grad_fn=` and `requires_grad=`."""
    tensor = args[0]
    if not on_card(tensor):
        return str(func(*args, **kwargs))
    text = func(tensor.detach().cpu(), *args[1:], **kwargs)
    head, separator, dtype = text.removesuffix(")").partition(", dtype=")
    graph = f", grad_fn=<{tensor.grad_fn.name()}>" if tensor.grad_fn is not None else ""
    if not graph and tensor.requires_grad:
        graph = ", requires_grad=True"
    return f"{head}, device='{CARD}'{separator}{dtype}{graph})"


Tensor = torch.Tensor
HANDLERS: dict[Any, Handler] = {
    Tensor.device.__get__: _device,
    Tensor.is_cuda.__get__: _is_cuda,
    Tensor.is_meta.__get__: _is_meta,
    Tensor.get_device: _get_device,
    torch.get_device: _get_device,
    Tensor.cuda: _cuda,
    Tensor.to: _to,
    Tensor.type: _type,
    Tensor.pin_memory: _itself,
    Tensor.is_pinned: _not_pinned,
    Tensor.record_stream: _nothing,
    Tensor.numpy: _numpy,
    Tensor.__array__: _numpy,
    Tensor.__format__: _format,
    Tensor.__repr__: _repr,
    Tensor.new_tensor: _new_tensor,
    torch.tensor: _from_data,
    torch.asarray: _as_tensor,
    torch.as_tensor: _as_tensor,
}
