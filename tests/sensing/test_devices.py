"""Which source is asked: NVML, else GPUtil, else nvidia-smi, and a reason for each that did not answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest

from memdoctor.sensing.devices import read_cards

Install = Callable[..., None]

LIBRARY_NOT_FOUND = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def test_nvml_is_enough(fake_nvml: Install, fake_nvidia_smi: Any) -> None:
    fake_nvml({})
    fake_nvidia_smi("GPU-aaaa, 0, 1, 1, 0, another card\n")
    report = read_cards()
    assert [card.source for card in report.cards] == ["NVML"]
    assert report.skipped == ()


def test_without_nvml_and_gputil_nvidia_smi_is_asked(
    fake_nvml: Install, fake_nvidia_smi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml(init=LIBRARY_NOT_FOUND)
    monkeypatch.setitem(sys.modules, "GPUtil", None)
    fake_nvidia_smi("GPU-aaaa, 0, 4096, 4000, 0, Tesla T4\n")
    report = read_cards()
    assert [card.source for card in report.cards] == ["nvidia-smi"]
    assert [skipped.what for skipped in report.skipped] == ["NVML", "GPUtil"]


def test_without_any_source_there_is_a_reason_for_each(
    fake_nvml: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml(init=LIBRARY_NOT_FOUND)
    monkeypatch.setitem(sys.modules, "GPUtil", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    report = read_cards()
    assert report.cards == ()
    assert [skipped.what for skipped in report.skipped] == ["NVML", "GPUtil", "nvidia-smi"]
