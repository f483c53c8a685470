"""Drawing at random: what is made beside the numbers drawn."""

from __future__ import annotations

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

    Without putting back: whether the extremes of the weights are in order, then the weights over exponential numbers,
    of which the largest are taken. Else weights that sum to one, their running sums and what they are made from.
    Source: aten/src/ATen/native/Distributions.cpp and cuda/MultinomialKernel.cu.
    """
    weights, count = args[:2]
    puts_back = args[2] if len(args) > 2 else kwargs.get("replacement", False)
    out = recorder.run(func, args, kwargs)
    width = weights.element_size()
    largest = [out.numel() * width] if count > 1 else []
    scratch = [weights.nbytes] * 3 if puts_back and count > 1 else [width, width, 1, 1, weights.nbytes, *largest]
    with recorder.ledger.scratch(scratch):
        return out


RULES: dict[Any, Rule] = {
    aten.multinomial.default: _multinomial,
    aten.normal.Tensor_float: _normal,
    aten.normal.float_Tensor: _normal,
}
