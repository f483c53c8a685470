"""What would make a program smaller at the moment it was too big, in order of the bytes that were measured there.

Each figure is what the change can save at most: the whole of what it is about, or half of it where it halves.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation import breakdown as names
from memdoctor.foundation.breakdown import Breakdown, Crash, ModuleBytes
from memdoctor.foundation.units import format_bytes

_LEAST_SHARE = 0.05
"""Of the bytes in use that an advice must be about."""
_MOST_ADVICE = 5
_MOST_OF_PARENT = 0.8
_LARGE_REQUEST = 0.25

Saving = tuple[int, str]
"""At most so many bytes, by doing this."""


def savings(crash: Crash) -> tuple[str, ...]:
    """Sentences to follow, the largest first; where nothing was seen, the one that always holds."""
    found = [(nbytes, text) for nbytes, text in _savings(crash) if nbytes >= _LEAST_SHARE * crash.allocated_bytes]
    ordered = sorted(found, key=lambda saving: -saving[0])
    texts = tuple(f"{text}: up to {format_bytes(nbytes)} less." for nbytes, text in ordered[:_MOST_ADVICE])
    return texts or ("`memdoctor batch-size` finds the largest batch that fits.",)


def _savings(crash: Crash) -> Iterator[Saving]:
    if crash.request_bytes >= _LARGE_REQUEST * max(crash.allocated_bytes, 1):
        size = f" {crash.mark.shape}" if crash.mark.shape else ""
        yield crash.request_bytes, f"Compute the tensor that was refused{size} in pieces, one alive at a time"
    if crash.breakdown is not None:
        yield from _of_activations(crash, crash.breakdown)
        yield from _of_training(crash, crash.breakdown.category_bytes)
        yield from _of_what_is_loaded(crash.breakdown.category_bytes)


def _of_activations(crash: Crash, breakdown: Breakdown) -> Iterator[Saving]:
    sizes = breakdown.category_bytes
    kept_bytes = sizes.get(names.ACTIVATIONS, 0)
    if crash.gradients_in_evaluation:
        yield kept_bytes, "Evaluate under `torch.no_grad()`: activations are kept for a backward that never runs"
    elif crash.mark.followed or crash.mark.phase != names.FORWARD:
        module = _holder(breakdown.modules)
        if module is not None:
            yield module.activation_bytes, f"Recompute {module.path} in backward (`torch.utils.checkpoint`)"
    with_batch_bytes = kept_bytes + sizes.get(names.ACTIVATIONS_AND_OTHER, 0)
    yield with_batch_bytes // 2, "Halve the batch (where it trains, accumulate the gradients of both halves)"


def _holder(modules: tuple[ModuleBytes, ...]) -> ModuleBytes | None:
    """The innermost module that still holds most activations of the model: a stack of layers, not one of them."""
    found = max(modules, key=lambda module: module.activation_bytes, default=None)
    while found is not None:
        most_bytes = _MOST_OF_PARENT * found.activation_bytes
        inside = [each for each in modules if each.path.startswith(f"{found.path}.")]
        deeper = [each for each in inside if each.activation_bytes >= most_bytes > 0]
        if not deeper:
            break
        found = min(deeper, key=lambda module: len(module.path))
    return found if found is not None and found.activation_bytes else None


def _of_training(crash: Crash, sizes: dict[str, int]) -> Iterator[Saving]:
    if crash.mark.phase == names.FORWARD:
        yield sizes.get(names.GRADIENTS, 0), (
            "Call `optimizer.zero_grad()` before the forward pass, unless you accumulate: old gradients are still alive"
        )
    if crash.mark.phase == names.OPTIMIZER_STEP:
        yield sizes.get(names.TEMPORARIES, 0), "Give the optimizer `foreach=False`: it then steps tensor by tensor"
    yield sizes.get(names.OPTIMIZER_STATE, 0), "Take an optimizer with less state (SGD, Adafactor, 8-bit Adam)"


def _of_what_is_loaded(sizes: dict[str, int]) -> Iterator[Saving]:
    yield sizes.get(names.PARAMETERS, 0) // 2, "Load the weights in half precision"
    yield sizes.get(names.INPUTS, 0), "Keep data on the host and move one batch at a time"
