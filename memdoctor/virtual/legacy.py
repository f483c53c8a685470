"""Older ways to name the card: `torch.device(0)`, `torch.cuda.FloatTensor` and `torch.set_default_tensor_type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from memdoctor.virtual.patches import Patches

_DTYPES = {
    "FloatTensor": torch.float32, "DoubleTensor": torch.float64, "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16, "ByteTensor": torch.uint8, "CharTensor": torch.int8, "ShortTensor": torch.int16,
    "IntTensor": torch.int32, "LongTensor": torch.int64, "BoolTensor": torch.bool,
}
_PREFIX = "torch.cuda."
_CUDA = torch.device("cuda")


class _TensorType(type):
    """A type whose instances are the tensors of the card with its element type."""

    dtype: torch.dtype

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.is_cuda and value.dtype is cls.dtype

    def __call__(cls, *args: Any) -> torch.Tensor:
        """Sizes give an uninitialised tensor, anything else is copied, as `torch.FloatTensor` does."""
        if all(isinstance(arg, (int, torch.Size)) for arg in args):
            return torch.empty(*args or (0,), dtype=cls.dtype, device=_CUDA)
        return torch.tensor(args[0] if args else [], dtype=cls.dtype, device=_CUDA)


_Device: Any = torch.device


class _AnyDevice(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Device)


class _DeviceOrNumber(metaclass=_AnyDevice):
    """Stands for `torch.device`, and reads a number as a card where PyTorch finds no accelerator to number."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], int):
            return _Device("cuda", args[0])
        return _Device(*args, **kwargs)


def patch_legacy(patches: Patches) -> None:
    patches.set(torch, "device", _DeviceOrNumber)
    for name, dtype in _DTYPES.items():
        kind = _TensorType(name, (), {"dtype": dtype, "__module__": "torch.cuda"})
        patches.replace(torch.cuda, name, kind)
    patches.set(torch, "set_default_tensor_type", _default_type_setter(torch.set_default_tensor_type))


def _default_type_setter(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def set_default_tensor_type(kind: Any) -> None:
        name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"
        if name.startswith(_PREFIX):
            torch.set_default_dtype(_DTYPES[name.removeprefix(_PREFIX)])
            torch.set_default_device(_CUDA)
        else:
            torch.set_default_device(None)
            original(kind)
    return set_default_tensor_type
