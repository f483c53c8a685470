"""Every way to say CUDA in a torch call, turned into the virtual card, whose meta tensors answer as CUDA's would.

One dictionary look-up per call: a function that has a handler (`placement.py`, `attributes.py`) goes there, of all
others only `device=` and `generator=` are looked at. Tensors that the user himself puts on `meta` stay real meta
tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device as default_device

from memdoctor.foundation.tracebacks import without_our_frames
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.mixtures import card_of

CARD = torch.device("cuda", 0)
META = torch.device("meta")

Function = Callable[..., Any]
Handler = Callable[["CardDevice", Function, "tuple[Any, ...]", "dict[str, Any]"], Any]


def is_card(device: Any) -> bool:
    """Whether a device argument names a card; raises what CUDA raises for a card that is not there."""
    if isinstance(device, int) and not isinstance(device, bool):
        device = torch.device("cuda", device)
    elif isinstance(device, str):
        device = torch.device(device)
    if not isinstance(device, torch.device) or device.type != "cuda":
        return False
    if device.index and device.index >= torch.cuda.device_count():
        raise invalid_ordinal()
    return True


def invalid_ordinal() -> RuntimeError:
    """What CUDA says of a card that is not there."""
    kind: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)
    return kind("CUDA error: invalid device ordinal")


def number_of(device: Any) -> int:
    """The number of the card that a device argument names; without one, that of the thread's current card."""
    if isinstance(device, int):
        return device
    index = torch.device(device).index if device is not None else None
    return torch.cuda.current_device() if index is None else index


def is_meta(device: Any) -> bool:
    """Whether the user asks for PyTorch's own meta device."""
    return device is not None and not isinstance(device, int) and torch.device(device).type == "meta"


class CardDevice(TorchFunctionMode):
    """One object for all threads; PyTorch pushes and pops it per thread."""

    def __init__(self, ledgers: Sequence[Ledger], handlers: dict[Any, Handler]) -> None:
        super().__init__()
        self.ledger = ledgers[0]
        """All know the storages of all cards, and which meta tensors are the user's own."""
        self.ledgers = ledgers
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

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """The card that a tensor of a card is on."""
        if len(self.ledgers) == 1:
            return CARD
        return torch.device("cuda", card_of(self.ledger.storages, tensor) or 0)

    def meta(self, device: Any) -> torch.device:
        """What stands for a card below: the recorder is told its number, and the tensor does not keep it."""
        return META if len(self.ledgers) == 1 else torch.device("meta", number_of(device))

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call with the card as meta; what it cannot do here (pinning, the card's generators) is left out."""
        device = kwargs.get("device")
        if "pin_memory" in kwargs:
            kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        if is_card(device):
            kwargs = {name: value for name, value in kwargs.items() if name != "generator"}
            return func(*args, **{**kwargs, "device": self.meta(device)})
        if is_meta(device):
            with self.ledger.foreign_births():
                return func(*args, **kwargs)
        if kwargs.get("generator") is not None and args and self.on_card(args[0]):
            kwargs = {**kwargs, "generator": None}
        return func(*args, **kwargs)
