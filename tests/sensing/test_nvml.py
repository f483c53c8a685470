"""The driver's own library: cards, slices, processes, and every way in which it does not answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pynvml
import pytest
import torch

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading, ProcessReading
from memdoctor.foundation.units import GIB, MIB
from memdoctor.sensing import nvml
from memdoctor.sensing.nvml import others_bytes, read_nvml, utilization_percent

Install = Callable[..., None]

LIBRARY_NOT_FOUND = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
VERSION_MISMATCH = pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
NOT_FOUND = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
GPU_IS_LOST = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
NO_PERMISSION = pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
UNINITIALIZED = pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)


def process(pid: int, used_bytes: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used_bytes)


def test_a_card_with_a_process(fake_nvml: Install) -> None:
    fake_nvml(dict(compute=[process(7, 9 * GIB)]))
    processes = (ProcessReading(7, "python train.py", 9 * GIB),)
    expected = DeviceReading(0, "NVIDIA A100-SXM4-40GB", 40 * GIB, 10 * GIB, "NVML", 35, processes)
    assert list(read_nvml()) == [expected]


def test_a_process_that_computes_and_draws_is_listed_once(fake_nvml: Install) -> None:
    fake_nvml(dict(compute=[process(7, GIB)], graphics=[process(7, GIB), process(8, MIB)]))
    (card,) = read_nvml()
    assert isinstance(card, DeviceReading)
    assert [one.pid for one in card.processes] == [7, 8]


def test_memory_and_name_of_a_process_that_are_not_told(fake_nvml: Install) -> None:
    """Under Windows' WDDM the memory is None; in a container the names of others are not found."""
    fake_nvml(dict(compute=[process(99, None)]))
    (card,) = read_nvml()
    assert isinstance(card, DeviceReading)
    assert card.processes == (ProcessReading(99, "", None),)


def test_a_split_card_is_followed_by_its_slices(fake_nvml: Install) -> None:
    """Utilisation is not supported while a card is split, and its processes are told slice by slice."""
    part = dict(
        name="NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        memory=SimpleNamespace(total=5 * GIB, free=4 * GIB),
        utilization=NOT_SUPPORTED,
        compute=[process(7, GIB)],
    )
    fake_nvml(dict(utilization=NOT_SUPPORTED, slices=[NOT_FOUND, part]))
    whole, slice_ = read_nvml()
    assert isinstance(whole, DeviceReading) and isinstance(slice_, DeviceReading)
    assert (whole.index, whole.total_bytes, whole.utilization_percent) == (0, 40 * GIB, None)
    assert (slice_.index, slice_.total_bytes, slice_.used_bytes) == (0, 5 * GIB, GIB)
    assert slice_.processes == (ProcessReading(7, "python train.py", GIB),)


def test_processes_that_may_not_be_seen_are_said_to_be_missing(fake_nvml: Install) -> None:
    fake_nvml(dict(compute=NO_PERMISSION))
    skipped, card = read_nvml()
    assert skipped == Skipped("processes of card 0, NVIDIA A100-SXM4-40GB", "Insufficient Permissions")
    assert isinstance(card, DeviceReading) and card.processes == ()


def test_a_card_without_memory_of_its_own_is_left_out(fake_nvml: Install) -> None:
    fake_nvml(dict(name="NVIDIA GB10", memory=NOT_SUPPORTED))
    assert list(read_nvml()) == [Skipped("memory of card 0, NVIDIA GB10", "Not Supported")]


def test_a_lost_card_does_not_hide_the_other(fake_nvml: Install) -> None:
    fake_nvml(GPU_IS_LOST, {})
    lost, card = read_nvml()
    assert lost == Skipped("card 0", "GPU is lost")
    assert isinstance(card, DeviceReading) and card.index == 1


def test_a_driver_that_was_updated_under_a_running_machine(fake_nvml: Install) -> None:
    fake_nvml(init=VERSION_MISMATCH)
    assert list(read_nvml()) == [Skipped("NVML", "RM has detected an NVML/RM version mismatch.")]


def test_nvml_lists_no_card(fake_nvml: Install) -> None:
    fake_nvml()
    assert list(read_nvml()) == [Skipped("NVML", "it lists no card")]


@pytest.fixture
def cuda_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="aaaa"))
    nvml._handle_of_cuda_device.cache_clear()
    yield
    nvml._handle_of_cuda_device.cache_clear()


@pytest.mark.usefixtures("cuda_in_use")
def test_utilization_is_of_the_card_with_the_uuid_of_the_cuda_device(fake_nvml: Install) -> None:
    fake_nvml(dict(utilization=3), dict(utilization=87))
    assert utilization_percent(0) == 87


@pytest.mark.usefixtures("cuda_in_use")
def test_utilization_of_nvml_that_vanishes_between_two_reads(fake_nvml: Install) -> None:
    card: dict[str, object] = dict(utilization=87)
    fake_nvml(card)
    assert utilization_percent(0) == 87
    card["utilization"] = UNINITIALIZED
    assert utilization_percent(0) is None


@pytest.mark.usefixtures("cuda_in_use")
def test_without_nvml_utilization_is_tried_once(fake_nvml: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def init() -> None:
        tries.append(1)
        raise LIBRARY_NOT_FOUND

    fake_nvml()
    monkeypatch.setattr(pynvml, "nvmlInit", init)
    assert [utilization_percent(0), utilization_percent(0)] == [None, None]
    assert len(tries) == 1


@pytest.mark.usefixtures("cuda_in_use")
def test_a_slice_has_no_utilization(fake_nvml: Install) -> None:
    fake_nvml(dict(utilization=NOT_SUPPORTED))
    assert utilization_percent(0) is None


@pytest.mark.usefixtures("cuda_in_use")
def test_torch_before_uuids_has_no_utilization(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace())
    assert utilization_percent(0) is None


@pytest.mark.usefixtures("cuda_in_use")
def test_a_program_that_does_not_use_cuda_has_no_utilization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first use later is seen: the answer is not remembered."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert utilization_percent(0) is None
    assert nvml._handle_of_cuda_device.cache_info().currsize == 0


def test_what_others_hold_is_told_where_this_process_is_listed(
    fake_nvml: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with process numbers of its own cannot be told from another process."""
    own = SimpleNamespace(pid=os.getpid(), usedGpuMemory=GIB)
    other = SimpleNamespace(pid=7, usedGpuMemory=2 * GIB)
    monkeypatch.setattr("memdoctor.sensing.nvml._handle_of_cuda_device", lambda index: cards[0])
    for listed, expected in (([own, other], 2 * GIB), ([own], 0), ([other], None)):
        cards = [{"compute": listed}]
        fake_nvml(*cards)
        assert others_bytes(0) == expected


def vanished(card: object) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)


def test_a_driver_that_vanishes_while_a_program_runs_ends_no_run(
    fake_nvml: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
    monkeypatch.setattr("memdoctor.sensing.nvml._handle_of_cuda_device", lambda index: cards[0])
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    cards = [{"compute": gone, "graphics": gone}]
    fake_nvml(*cards)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", vanished)
    assert others_bytes(0) is None and utilization_percent(0) is None
