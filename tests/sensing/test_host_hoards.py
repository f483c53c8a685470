"""What takes memory of the host is counted once, for the object that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memdoctor.sensing.edges import edges
from memdoctor.sensing.hoards import Hoards, array_bytes


@pytest.mark.parametrize(
    ("value", "nbytes"),
    [
        pytest.param(np.zeros(1000), 8000, id="an array"),
        pytest.param(np.zeros(1000)[:10], 0, id="a view, whose base counts"),
        pytest.param(torch.zeros(10).numpy(), 0, id="a tensor's memory, which counts as the tensor's"),
        pytest.param([1, 2], 0, id="a list"),
    ],
)
def test_an_array_that_owns_its_memory_counts(value: Any, nbytes: int) -> None:
    assert array_bytes(value) == nbytes


def test_a_mapped_file_takes_no_memory(tmp_path: Path) -> None:
    mapped: Any = np.memmap(tmp_path / "a.bin", dtype="float64", mode="w+", shape=(1000,))
    assert array_bytes(mapped) == 0


def test_views_of_one_storage_count_once_and_tensors_of_a_card_not() -> None:
    hoards = Hoards(lambda tensor, storage: True)
    whole = torch.zeros(100)
    for holder, value in enumerate([whole, whole[:50], torch.empty(100, device="meta"), np.zeros(10)]):
        hoards.meet(value, holder)
    assert dict(hoards.largest()) == {0: 400, 3: 80}
    refused = Hoards(lambda tensor, storage: False)
    refused.meet(whole, 0)
    assert not list(refused.largest())


def test_an_array_counts_for_the_tensor_whose_memory_it_shares_and_leads_to_no_tensor() -> None:
    hoards = Hoards(lambda tensor, storage: False)
    predictions = torch.zeros(30).numpy()
    hoards.meet(predictions, 0)
    hoards.meet(predictions.base.numpy(), 1)
    assert dict(hoards.largest()) == {0: 120}
    assert list(edges(predictions)) == []
