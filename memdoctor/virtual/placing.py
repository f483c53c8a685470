"""Where an operator runs: on the card, on the host, or on the user's own meta device; and which mixtures are errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from memdoctor.foundation.locations import shown_path
from memdoctor.virtual.complaints import REFUSALS, in_words_of_a_card
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.mixtures import mixture
from memdoctor.virtual.values import user_frame

Operator = Callable[..., Any]


def concerns_card(ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether any operand or the requested device is the card.

    Raises what CUDA raises for a mixture with host tensors; host scalars may be mixed in everywhere.
    """
    on_card, on_host = False, False
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            if value.is_meta:
                on_card = True
            elif value.dim():
                on_host = True
        elif isinstance(value, (list, tuple)):
            on_card = on_card or any(isinstance(item, torch.Tensor) and item.is_meta for item in value)
        elif isinstance(value, torch.device):
            on_card = on_card or value.type == "meta"
    if on_card and on_host and "device" not in kwargs and not func._schema.name.startswith(_MIX_DEVICES):
        raise mixture(ledger.storages, func, args, kwargs)
    return on_card


_MIX_DEVICES = (
    "aten::_to_copy", "aten::copy_", "aten::index", "aten::_index", "aten::_unsafe_index", "aten::set_",
    "aten::_pack_padded", "aten::_ctc_loss", "aten::ctc_loss", "aten::lstm", "aten::gru", "aten::rnn",
    "aten::_cudnn", "aten::_foreach", "aten::_fused",
)
"""Operators that take host tensors beside the card's: copies, indices, sequence lengths, step counters."""


def run(ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the meta kernel; an operator that has none is named instead of guessed at."""
    refuse = REFUSALS.get(func)
    if refuse is not None:
        refuse(*args)
    try:
        return func(*args, **kwargs)
    except NotImplementedError as error:
        raise NotImplementedError(
            f"memdoctor's virtual GPU cannot run {func}{_asked_at()}: PyTorch has no meta kernel for it, and memdoctor "
            'no rule yet. Try values="real", which computes on the host (`memdoctor run --values real`), leave the '
            "call out while looking at memory, or report it with this message."
        ) from error
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError, ValueError, AssertionError) as error:
        if "is not on the expected device" in str(error):
            raise mixture(ledger.storages, func, args, kwargs) from None
        raise in_words_of_a_card(func, args, kwargs, error) from None


def _asked_at() -> str:
    frame = user_frame(sys._getframe(1))
    return "" if frame is None else f", asked for at {shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def is_foreign(ledger: Ledger, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the operator belongs to the user's own meta device: he asked for it, or all operands are there."""
    device = kwargs.get("device")
    if device is not None:
        return ledger.births_are_foreign and device.type == "meta"
    operands = [tensor for tensor in tensors_in((*args, *kwargs.values())) if tensor.is_meta]
    return bool(operands) and all(ledger.is_foreign(tensor) for tensor in operands)


def run_foreign(ledger: Ledger, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = func(*args, **kwargs)
    for tensor in tensors_in((out,)):
        if tensor.is_meta and tensor.layout is torch.strided:
            ledger.leave_out(tensor.untyped_storage())
    return out


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """Those in lists of lists too."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
