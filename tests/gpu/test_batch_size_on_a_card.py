"""The search on a real card, without a virtual one in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import memdoctor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a real NVIDIA card"),
]

HOLDS_1_GIB_A_SAMPLE = """
import torch
def make_step(batch_size):
    return lambda: torch.empty(batch_size, 2**30, dtype=torch.uint8, device="cuda")
"""


def test_the_largest_size_leaves_less_than_another_sample(tmp_path: Path) -> None:
    """One sample is 1 GiB; the driver may keep a little of what it says is free, so another GiB is allowed for."""
    path = tmp_path / "train.py"
    path.write_text(HOLDS_1_GIB_A_SAMPLE, encoding="utf-8")
    found = memdoctor.find_batch_size(f"{path}:make_step")
    assert found.card == torch.cuda.get_device_name()
    assert found.peak_bytes == found.batch_size * 2**30
    assert found.margin_bytes is not None and 0 <= found.margin_bytes < 2 * 2**30
    assert [trial.fits for trial in found.trials if trial.batch_size == found.batch_size + 1] == [False]
