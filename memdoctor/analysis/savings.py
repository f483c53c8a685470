"""What would make a program smaller at the moment it was too big, in order of the bytes that were measured there.

Each figure is what the change can save at most: the whole of what it is about, or half of it where it halves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from memdoctor.foundation import breakdown as names
from memdoctor.foundation.breakdown import Breakdown, Crash, TensorBytes
from memdoctor.foundation.units import format_bytes

_LEAST_SHARE = 0.05
"""Of what would have been in use: an advice must be about more."""
_MOST_ADVICE = 5
_LARGE_REQUEST = 0.25
_LONG_SEQUENCE = 512
_NUMBER = re.compile(r"\.\d")
_MODELS_SHARE = 0.9
"""Of the bytes in use: from there on the batch is not what fills the card."""

Saving = tuple[int, str]
"""At most so many bytes, by doing this."""


def savings(crash: Crash) -> tuple[str, ...]:
    """Sentences to follow, the largest first; where nothing was seen, the one that always holds."""
    least_bytes = _LEAST_SHARE * (crash.allocated_bytes + crash.request_bytes)
    found = [(nbytes, text) for nbytes, text in _savings(crash) if nbytes >= least_bytes]
    ordered = sorted(found, key=lambda saving: -saving[0])
    texts = [f"{text}: up to {format_bytes(nbytes)} less." for nbytes, text in ordered[:_MOST_ADVICE] if nbytes]
    if crash.breakdown is not None and _is_the_model(crash.breakdown):
        texts.append("A smaller batch would not help: the model, its gradients and its optimizer fill the card.")
    return tuple(texts) or ("`memdoctor batch-size` finds the largest batch that fits.",)


def _is_the_model(breakdown: Breakdown) -> bool:
    sizes = breakdown.category_bytes
    own = (names.PARAMETERS, names.GRADIENTS, names.OPTIMIZER_STATE)
    return sum(sizes.get(name, 0) for name in own) >= _MODELS_SHARE * breakdown.allocated_bytes > 0


def _savings(crash: Crash) -> Iterator[Saving]:
    if crash.request_bytes >= _LARGE_REQUEST * max(crash.allocated_bytes, 1):
        yield _of_the_request(crash)
    yield crash.retried_bytes, (
        "Try again only after the `except` block has ended (MD108): until then the error keeps the first attempt alive"
    )
    if crash.breakdown is not None:
        yield from _of_activations(crash, crash.breakdown)
        yield from _of_training(crash, crash.breakdown.category_bytes)
        yield from _of_what_is_loaded(crash.breakdown.category_bytes)


def _of_the_request(crash: Crash) -> Saving:
    """With the tensors like it that were alive: logits and their gradient, the scores of each head."""
    shape = crash.mark.shape
    alike = [each for each in _logits(crash) if shape and math.prod(each.shape) == math.prod(shape)]
    nbytes = crash.request_bytes + sum(each.nbytes * each.count for each in alike)
    if len(shape) > 2 and shape[-1] == shape[-2] >= _LONG_SEQUENCE:
        return nbytes, (
            f"If {shape} are attention's scores, let `torch.nn.functional.scaled_dot_product_attention` do without them"
        )
    count = sum(each.count for each in alike)
    others = f" and the {f'{count} ' if count > 1 else 'one '}of its size" if alike else ""
    size = f" {shape}" if shape else ""
    return nbytes, f"Compute the tensor that was refused{size}{others} in pieces, one alive at a time"


def _logits(crash: Crash) -> list[TensorBytes]:
    """What is computed once and not layer by layer: of a layer, the others of its size are the other layers'."""
    if crash.breakdown is None or crash.gradients_in_evaluation or _NUMBER.search(crash.mark.module):
        return []
    return [each for each in crash.breakdown.tensors if each.category in (names.ACTIVATIONS, names.TEMPORARIES)]


def _of_activations(crash: Crash, breakdown: Breakdown) -> Iterator[Saving]:
    sizes = breakdown.category_bytes
    kept_bytes = sizes.get(names.ACTIVATIONS, 0)
    computes = crash.mark.followed or crash.mark.phase in (names.FORWARD, names.BACKWARD)
    if crash.gradients_in_evaluation:
        no_grad = "Evaluate under `torch.no_grad()` (MD201): activations are kept for a backward that never runs"
        yield kept_bytes, no_grad
    elif crash.mark.followed or crash.mark.phase != names.FORWARD:
        module = max(breakdown.modules, key=lambda module: module.recomputed_bytes, default=None)
        if module is not None:
            yield module.recomputed_bytes, (
                f"Recompute the parts of {module.path} in backward, a few at a time (`torch.utils.checkpoint`)"
            )
    with_batch_bytes = kept_bytes + sizes.get(names.ACTIVATIONS_AND_OTHER, 0) - crash.retried_bytes
    with_batch_bytes += crash.request_bytes if computes else 0
    yield with_batch_bytes // 2, "Halve the batch (where it trains, accumulate the gradients of both halves)"


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
    yield sizes.get(names.LOADED, 0), (
        'Load the checkpoint to the host (`map_location="cpu"`), and `del` it once the model has taken it'
    )
