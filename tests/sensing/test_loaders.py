"""Loaders with workers are met at their first batch, and nothing about them is changed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, dataloader

from memdoctor.sensing.loaders import Loaders


class Numbers(Dataset[torch.Tensor]):
    """Sixteen vectors of 256 bytes, and whatever else it holds."""

    def __init__(self, held: object = None) -> None:
        self.held = held

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((64,), float(index))


@pytest.fixture
def loaders() -> Iterator[Loaders]:
    with Loaders() as watching:
        yield watching
    assert "__next__" not in vars(dataloader._MultiProcessingDataLoaderIter)


def batches(dataset: Dataset[torch.Tensor], workers: int = 2) -> list[torch.Tensor]:
    return list(DataLoader(dataset, batch_size=4, num_workers=workers, prefetch_factor=3 if workers else None))


def test_a_loader_is_met_once_with_what_it_prepares_ahead(loaders: Loaders) -> None:
    """Two workers, three batches each, of 4 x 256 bytes; the second epoch is the same loader."""
    assert torch.equal(torch.cat(batches(Numbers())), torch.cat(batches(Numbers(), workers=0)))
    batches(Numbers())
    (reading,) = {(one.workers, one.prefetch_factor, one.batch_bytes, one.queue_bytes) for one in loaders.readings}
    assert reading == (2, 3, 1024, 6144)
    assert all(one.location is not None and "test_loaders.py" in one.location.path for one in loaders.readings)
    assert loaders.pids == set()


@pytest.mark.parametrize("held", [pytest.param(["a"] * 10_000, id="list"), pytest.param({n: n for n in range(10_000)})])
def test_a_container_of_very_many_objects_is_named(loaders: Loaders, held: object) -> None:
    batches(Subset(Numbers(held), range(8)))
    (reading,) = loaders.readings
    assert (reading.objects, reading.object_count) == ("Numbers.held", 10_000)


@pytest.mark.parametrize("held", [pytest.param(["a"] * 99, id="few"), pytest.param(torch.zeros(10**6), id="a tensor")])
def test_few_objects_and_arrays_are_not(loaders: Loaders, held: object) -> None:
    batches(Numbers(held))
    assert loaders.readings[0].objects == ""


def test_a_loader_without_workers_is_not_looked_at(loaders: Loaders) -> None:
    batches(Numbers(), workers=0)
    assert loaders.readings == []


def test_processes_of_the_programs_own_are_counted_and_workers_are_not(loaders: Loaders) -> None:
    batches(Numbers())
    assert loaders.other_processes == 0
    process = multiprocessing.get_context("fork").Process(target=len, args=("",))
    process.start()
    process.join()
    assert loaders.other_processes == 1
