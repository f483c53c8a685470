"""What memory-saving techniques save on the virtual card, beside what others measured on a real A100.

    python benchmarks/technique_savings.py --published FILE

`FILE` is a table with the columns model, technique and peak_gib: the peaks of active memory that torchtune's README
states for Llama 3.2 3B, batch 2 x 4096, bfloat16, on an A100, each row with the techniques above it. Only what the
virtual card can run is repeated: from the packed data set on, without `torch.compile`, which the published rows have
from "+ Compile" on. A saving is therefore compared with the saving, not the peak with the peak; the difference is
stated as a share of the published peak before the technique. Not repeated: 8-bit AdamW and QLoRA (their kernels are
other packages'), and LoRA, which the table has on top of those.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from _results import write
from _whole_llama import Techniques, whole_step

import memdoctor

BATCH, LENGTH = 2, 4096
GIB = 2**30
PACKED = "+ Packed dataset"
STEPS = {
    PACKED: Techniques(),
    "+ Chunked CE": Techniques(has_chunked_loss=True),
    "+ Activation checkpointing": Techniques(has_chunked_loss=True, has_checkpoints=True),
    "+ Optimizer in backward": Techniques(has_chunked_loss=True, has_checkpoints=True, steps_in_backward=True),
    "+ Activation offloading": Techniques(
        has_chunked_loss=True, has_checkpoints=True, steps_in_backward=True, offloads=True),
}
"""In the order of the table."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the savings of techniques with published ones.")
    parser.add_argument("--published", type=Path, required=True, help="table of peaks")
    published = published_peaks(parser.parse_args().published)
    peaks = {name: peak_gib(techniques) for name, techniques in STEPS.items()}
    error = peaks[PACKED] / published[PACKED] - 1
    figures: dict[str, object] = {
        PACKED: {"peak_gib": peaks[PACKED], "published_peak_gib": published[PACKED], "error": round(error, 3)}}
    for before, name in zip(peaks, list(peaks)[1:]):
        figures[name] = compared(peaks[before] - peaks[name], peaks[name], name, published)
    print(write("technique_savings", figures))


def published_peaks(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["model"] == "Llama 3.2 3B"]
    return {row["technique"]: float(row["peak_gib"]) for row in rows}


def peak_gib(techniques: Techniques) -> float:
    """Of the second step, the first with optimizer state."""
    with memdoctor.virtual_gpu("a100-80gb") as gpu:
        step = whole_step(techniques, BATCH, LENGTH)
        step()
        step()
        return round(gpu.max_allocated_bytes / GIB, 2)


def compared(saving_gib: float, peak: float, name: str, published: dict[str, float]) -> dict[str, float]:
    """The published saving is that against the row before it."""
    names = list(published)
    before = published[names[names.index(name) - 1]]
    published_saving_gib = before - published[name]
    return {
        "peak_gib": peak,
        "published_peak_gib": published[name],
        "saving_gib": round(saving_gib, 2),
        "published_saving_gib": round(published_saving_gib, 2),
        "difference_in_peaks": round((saving_gib - published_saving_gib) / before, 3),
    }


if __name__ == "__main__":
    main()
