"""GPUtil: its units, and the ways in which it fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading
from memdoctor.foundation.units import MIB
from memdoctor.sensing.gputil import read_gputil


@pytest.fixture
def fake_gputil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    def install(get_gpus: Callable[[], Any]) -> None:
        module = ModuleType("GPUtil")
        module.getGPUs = get_gpus  # type: ignore[attr-defined]  # a module made for this test
        monkeypatch.setitem(sys.modules, "GPUtil", module)

    return install


def card_of(**told: Any) -> SimpleNamespace:
    figures = {"id": 0, "name": "Tesla T4", "memoryTotal": 15360.0, "memoryFree": 15000.0, "load": 0.29} | told
    return SimpleNamespace(**figures)


def test_its_mib_and_fractions(fake_gputil: Any) -> None:
    fake_gputil(lambda: [card_of()])
    assert list(read_gputil()) == [DeviceReading(0, "Tesla T4", 15360 * MIB, 360 * MIB, "GPUtil", 29)]


def test_what_it_cannot_tell_is_nan(fake_gputil: Any) -> None:
    fake_gputil(lambda: [card_of(load=float("nan")), card_of(id=1, memoryFree=float("nan"))])
    busy, unknown = read_gputil()
    assert isinstance(busy, DeviceReading) and busy.utilization_percent is None
    assert unknown == Skipped("memory of card 1, Tesla T4", "GPUtil does not tell it")


def test_no_card(fake_gputil: Any) -> None:
    fake_gputil(lambda: [])
    assert list(read_gputil()) == [Skipped("GPUtil", "it lists no card")]


def test_it_fails_on_text_that_is_no_table(fake_gputil: Any) -> None:
    fake_gputil(lambda: [int("Failed to initialize NVML")])
    (skipped,) = read_gputil()
    assert isinstance(skipped, Skipped) and skipped.why.startswith("ValueError")


def test_python_without_distutils(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUtil 1.4.0 imports it; it left the standard library in Python 3.12."""
    monkeypatch.delitem(sys.modules, "GPUtil", raising=False)
    monkeypatch.setitem(sys.modules, "distutils", None)
    (skipped,) = read_gputil()
    assert isinstance(skipped, Skipped) and skipped.what == "GPUtil" and "distutils" in skipped.why
