"""A sweep as text: a column for each card, the largest size that fits, remarks once."""

from __future__ import annotations

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.sweeps import Sweep, SweepPoint
from memdoctor.reports.sweep_text import sweep_text

REMARK = (Skipped("values", "they were not computed"),)
MIB = 2**20


def test_the_table_is_by_size_and_card() -> None:
    points = (
        SweepPoint(16, "a card with a long name", True, 1536 * MIB, 512 * MIB, 0.1, REMARK),
        SweepPoint(8, "a card with a long name", True, 768 * MIB, 1280 * MIB, 0.1, REMARK),
        SweepPoint(16, "1GiB", False, None, None, 0.1, REMARK),
        SweepPoint(8, "1GiB", False, None, None, 0.1, REMARK),
    )
    assert sweep_text(Sweep("train.py:make_step", points)).splitlines() == [
        "train.py:make_step: the peak of its steps, by batch size and card.",
        "",
        "batch size  a card with a long name        1GiB",
        "         8                768.0 MiB        full",
        "        16                  1.5 GiB        full",
        "",
        "a card with a long name: batch size 16 fits and leaves 512.0 MiB.",
        "1GiB: none of these sizes fits.",
        "not looked at: values: they were not computed",
    ]
