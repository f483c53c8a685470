"""Births and deaths of storages on a device that keeps no ledger."""

from __future__ import annotations

import gc

import torch

from memdoctor.sensing.census import Census


def test_a_storage_is_born_where_it_is_first_met_and_dies_with_its_tensor() -> None:
    census = Census("cpu")
    kept = [torch.zeros(1000)]
    census.update(is_check=True)
    census.update(is_check=True)
    key = kept[0].untyped_storage()._cdata
    assert census.storages[key].nbytes == 4000
    gc.disable()
    try:
        kept.clear()
        assert key not in census.storages
    finally:
        gc.enable()


def test_it_counts_at_each_check_once_more_is_reached_than_before() -> None:
    census = Census("cpu")
    kept = []
    births = []
    for _ in range(8):
        kept.append(torch.zeros(1000))
        census.update(is_check=True)
        births.append(census.birth_count)
    assert births[2:4] == [births[1]] * 2
    assert births[4:] == [births[4], births[4] + 1, births[4] + 2, births[4] + 3]


def test_it_rests_while_nothing_grows() -> None:
    census = Census("cpu")
    kept = [torch.zeros(1000)]
    for _ in range(5):
        census.update(is_check=True)
    kept.append(torch.zeros(1000))
    met = census.birth_count
    census.update(is_check=True)
    assert census.birth_count == met


def test_tensors_of_other_devices_do_not_count() -> None:
    census = Census("cuda")
    kept = torch.zeros(1000)
    census.update(is_check=True)
    census.update(is_check=True)
    assert kept.untyped_storage()._cdata not in census.storages
