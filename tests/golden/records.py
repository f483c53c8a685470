"""Hand-made runs, one for each answer that a report can give."""

from __future__ import annotations

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Location, Severity, Skipped
from memdoctor.foundation.looks import Growth
from memdoctor.foundation.readings import DeviceReading, MemoryReading, Retainer, Timeline
from memdoctor.foundation.runs import FINISHED, OUT_OF_MEMORY, RunEnd, RunHeader, RunReport

CARD = DeviceReading(0, "a100-40gb", 42_297_786_368, 500_000_000, "virtual")
MIB = 2**20


def header(program: str = "train.py --epochs 3") -> RunHeader:
    return RunHeader(CARD, program, "2026-11-21T10:00:00+00:00")


def timeline(allocated_mib: list[int]) -> Timeline:
    """Iterations half a second apart; the peak is 100 MiB above what stays."""
    return Timeline(
        tuple(
            MemoryReading(
                step=step,
                phase="train",
                seconds=step / 2,
                allocated_bytes=mib * MIB,
                reserved_bytes=(max(allocated_mib[: step + 1]) + 120) * MIB,
                peak_bytes=(max(allocated_mib[: step + 1]) + 100) * MIB,
                live_bytes=mib * MIB - 1000,
                host_bytes=900 * MIB,
            )
            for step, mib in enumerate(allocated_mib)
        )
    )


LEAK = RunReport(
    header=header(),
    end=RunEnd(FINISHED),
    timeline=timeline([50, 52, 54, 56, 58, 60, 62, 64]),
    growth=Growth(
        verdict="leak",
        explanation="Each optimizer step keeps 2.0 MiB more, since iteration 2.",
        confidence=Confidence.HIGH,
        bytes_per_step=2 * MIB,
        since_step=2,
        full_at_step=20_000,
        unit="optimizer step",
    ),
    findings=(
        Finding(
            code="MD101",
            name="loss-kept-with-graph",
            severity=Severity.ERROR,
            confidence=Confidence.HIGH,
            message="Trainer.history['val_loss'] keeps 2.0 MiB more every optimizer step (since step 2, measured).",
            location=Location("image_trainer.py", 46),
            variable="Trainer.history['val_loss']",
            advice=Advice("append(....item()), or compute it under torch.no_grad().", Applicability.MANUAL),
            cost_bytes=2 * MIB,
            retainer=Retainer(
                name="Trainer.history['val_loss']",
                path="trainer, global of image_trainer.py",
                location=Location("image_trainer.py", 46),
                bytes_per_step=2 * MIB,
                keeps_graph=True,
                unit="optimizer step",
                since_step=2,
                tensors=16,
                also_held_by=("best", "last"),
            ),
        ),
    ),
    skipped=(Skipped("values of tensors on the virtual card", "they were not computed"),),
)

CLEAN = RunReport(
    header=header(),
    end=RunEnd(FINISHED),
    timeline=timeline([50, 50, 50]),
    growth=Growth("none", "No leak: nothing outlives its iteration.", Confidence.HIGH),
    findings=(),
    skipped=(),
)

CRASHED = RunReport(
    header=header(),
    end=RunEnd(OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. " + 12 * "More. "),
    timeline=timeline([50, 90]),
    growth=Growth("none", "2 iterations are too few to tell.", Confidence.LOW),
    findings=(),
    skipped=(),
)

EMPTY = RunReport(
    header=header(""),
    end=RunEnd(FINISHED),
    timeline=Timeline(),
    growth=Growth("none", "There was no iteration.", Confidence.LOW),
    findings=(),
    skipped=(),
)

RUNS = {"leak": LEAK, "clean": CLEAN, "crashed": CRASHED, "empty": EMPTY}
