"""The user's tensors at the moment of an error: their names and shapes, and nothing that is kept alive."""

from __future__ import annotations

import sys
import weakref

import pytest
import torch

from memdoctor.foundation.breakdown import LocalTensor
from memdoctor.sensing.operands import running_tensors, tensors_of


def fail(x: torch.Tensor) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    number = torch.tensor(1.0)
    raise RuntimeError(f"full {weight.numel()} {number}")


def test_the_batch_is_named_innermost_first_and_once() -> None:
    """`x` is the caller's `images`; a parameter and a single number are no batch."""
    images, labels = torch.zeros(8, 3), torch.zeros(8, dtype=torch.int64)
    assert len(labels) == len(images)
    with pytest.raises(RuntimeError) as raised:
        fail(images)
    here = "test_the_batch_is_named_innermost_first_and_once"
    assert tensors_of(raised.value) == (
        LocalTensor("x", "fail", (8, 3), "float32"), LocalTensor("labels", here, (8,), "int64"),
    )


def test_of_what_runs_now_the_same_is_told_and_nothing_kept() -> None:
    batch = torch.zeros(4, 2)
    found = running_tensors(sys._getframe())
    assert (found[0].name, found[0].shape, found[0].dtype) == ("batch", (4, 2), "float32")
    reference = weakref.ref(batch)
    del batch
    assert reference() is None


def test_a_tensor_without_storage_is_passed_over() -> None:
    sparse = torch.zeros(3, 3).to_sparse()
    assert not [each for each in running_tensors(sys._getframe()) if each.name == "sparse"] and sparse.is_sparse
