"""The worst batch of a loader, and nothing that the loader would notice."""

from __future__ import annotations

import random

import pytest
import torch
from torch.utils.data import DataLoader

import memdoctor
from memdoctor.foundation.errors import BadInput

LENGTHS = [3, 9, 5]


def sentences() -> list[dict[str, torch.Tensor]]:
    return [{"ids": torch.zeros(length, dtype=torch.long), "audio": torch.zeros(10 - length)} for length in LENGTHS]


def test_the_most_bytes_of_tensors() -> None:
    """9 words of 8 bytes and 1 sample of 4, against 3 and 7."""
    assert len(memdoctor.worst_batch(sentences())["ids"]) == 9


def test_the_largest_by_a_key() -> None:
    assert len(memdoctor.worst_batch(sentences(), key=lambda batch: len(batch["audio"]))["ids"]) == 3


def test_batches_of_other_forms() -> None:
    assert memdoctor.worst_batch([[torch.zeros(1), "text"], [torch.zeros(2), "longer text"]])[1] == "longer text"


def test_the_random_state_is_as_before() -> None:
    """A loader that shuffles draws a seed each time it begins."""
    loader = DataLoader(torch.arange(100), batch_size=10, shuffle=True)
    torch.manual_seed(0)
    random.seed(0)
    expected = [batch.tolist() for batch in loader], random.random()
    torch.manual_seed(0)
    random.seed(0)
    memdoctor.worst_batch(loader)
    assert ([batch.tolist() for batch in loader], random.random()) == expected


@pytest.mark.parametrize(
    ("loader", "says"),
    [
        pytest.param([], "gave no batch", id="empty"),
        pytest.param(iter([1]), "can be read only once", id="a generator"),
    ],
)
def test_what_has_no_worst_batch_is_refused(loader: object, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        memdoctor.worst_batch(loader)
