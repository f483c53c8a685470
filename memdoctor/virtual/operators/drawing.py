"""Drawing at random: what is made beside the numbers drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _normal(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A mean or a deviation that is one number becomes a tensor (`normal_out_impl`, DistributionTemplates.h)."""
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([out.nbytes]):
        return out


def _multinomial(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, num_samples, replacement, *, generator)`.

    With putting back: weights that sum to one, their running sums and what they are made from. Else the weights over
    exponential numbers, of which the largest are taken (native/Distributions.cpp, cuda/MultinomialKernel.cu).
    """
    weights, count = args[:2]
    puts_back = args[2] if len(args) > 2 else kwargs.get("replacement", False)
    out = recorder.run(func, args, kwargs)
    scratch = recorder.ledger.scratch
    if puts_back and count > 1:
        with scratch([weights.nbytes] * 3):
            return out
    with _checked(recorder, weights):
        with scratch([weights.nbytes, *([out.numel() * weights.element_size()] if count > 1 else [])]):
            return out


@contextlib.contextmanager
def _checked(recorder: Recorder, weights: torch.Tensor) -> Iterator[None]:
    """Extremes that are in order, and no row that sums to zero: two numbers and two answers stay."""
    width = weights.element_size()
    rows = weights.numel() // max(1, weights.shape[-1])
    scratch, ledger = recorder.ledger.scratch, recorder.ledger
    with scratch([width, width, 1]):
        with scratch([1, 1]):
            pass
        with scratch([rows * width, rows]):
            is_zero = ledger.malloc(1)
        with scratch([1]):
            pass
        try:
            yield
        finally:
            ledger.free(is_zero)


RULES: dict[Any, Rule] = {
    aten.multinomial.default: _multinomial,
    aten.normal.Tensor_float: _normal,
    aten.normal.float_Tensor: _normal,
}
