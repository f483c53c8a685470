"""Every way to say CUDA in a torch call, turned into the virtual card, whose meta tensors answer as CUDA's would.

One dictionary look-up per call: a function that has a handler (`placement.py`, `attributes.py`) goes there, of all
others only `device=` and `generator=` are looked at. Tensors that the user himself puts on `meta` stay real meta
tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device as default_device

from memdoctor.foundation.tracebacks import without_our_frames
from memdoctor.virtual.ledger import Ledger

CARD = torch.device("cuda", 0)
META = torch.device("meta")

Function = Callable[..., Any]
Handler = Callable[["CardDevice", Function, "tuple[Any, ...]", "dict[str, Any]"], Any]


def is_card(device: Any) -> bool:
    """Whether a device argument names the card; raises what CUDA raises for a card that is not there."""
    if isinstance(device, int) and not isinstance(device, bool):
        device = torch.device("cuda", device)
    elif isinstance(device, str):
        device = torch.device(device)
    if not isinstance(device, torch.device) or device.type != "cuda":
        return False
    if device.index not in (None, 0):
        raise getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: invalid device ordinal")
    return True


def card_device(device: int) -> torch.device:
    """A card by its number; raises what CUDA raises for one that is not there."""
    named = torch.device("cuda", device)
    is_card(named)
    return named


def is_meta(device: Any) -> bool:
    """Whether the user asks for PyTorch's own meta device."""
    return device is not None and not isinstance(device, int) and torch.device(device).type == "meta"


class CardDevice(TorchFunctionMode):
    """One object for all threads; PyTorch pushes and pops it per thread."""

    def __init__(self, ledger: Ledger, handlers: dict[Any, Handler]) -> None:
        super().__init__()
        self.ledger = ledger
        self._handlers = handlers

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        try:
            handler = self._handlers.get(func)
            if handler is not None:
                return handler(self, func, args, kwargs or {})
            if default_device.CURRENT_DEVICE is not None and func in default_device._device_constructors():
                kwargs = kwargs or {}
                if kwargs.get("device") is None:
                    kwargs = {**kwargs, "device": default_device.CURRENT_DEVICE}
            if kwargs:
                return self.call(func, args, kwargs)
            return func(*args)
        except torch.OutOfMemoryError as error:
            del args, kwargs
            raise without_our_frames(error)

    def on_card(self, value: Any) -> bool:
        """Whether this is a tensor of the card; host tensors, the user's meta tensors and other objects are not."""
        return isinstance(value, torch.Tensor) and value.is_meta and not self.ledger.is_foreign(value)

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call with the card as meta; what it cannot do here (pinning, the card's generators) is left out."""
        device = kwargs.get("device")
        if "pin_memory" in kwargs:
            kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        if is_card(device):
            kwargs = {name: value for name, value in kwargs.items() if name != "generator"}
            return func(*args, **{**kwargs, "device": META})
        if is_meta(device):
            with self.ledger.foreign_births():
                return func(*args, **kwargs)
        if kwargs.get("generator") is not None and args and self.on_card(args[0]):
            kwargs = {**kwargs, "generator": None}
        return func(*args, **kwargs)
