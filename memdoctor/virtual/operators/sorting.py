"""Sorting and random permutations: outputs first, then what the sort needs."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels.sorting import random_permutation_scratch, sort_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _sort(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, dim, descending)`."""
    out = recorder.run(func, args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    _play(recorder, args[0], dim)
    return out


def _stable_sort(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, *, stable, dim, descending)`."""
    out = recorder.run(func, args, kwargs)
    _play(recorder, args[0], kwargs.get("dim", -1))
    return out


def _play(recorder: Recorder, tensor: torch.Tensor, dim: int) -> None:
    with recorder.ledger.scratch(sort_scratch(tensor.shape, dim, tensor.element_size())):
        pass


def _random_permutation(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch(random_permutation_scratch(args[0])):
        return out


RULES: dict[Any, Rule] = {
    aten.sort.default: _sort,
    aten.sort.stable: _stable_sort,
    aten.randperm.default: _random_permutation,
}
