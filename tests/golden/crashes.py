"""Hand-made runs that ended out of memory, one for each cause that a report can name."""

from __future__ import annotations

from dataclasses import replace

from memdoctor.analysis.diagnosis import diagnose
from memdoctor.foundation.breakdown import Birthmark, Breakdown, Crash, LineBytes, LocalTensor
from memdoctor.foundation.breakdown import ModuleBytes, TensorBytes
from memdoctor.foundation.findings import Confidence, Location
from memdoctor.foundation.looks import Growth
from memdoctor.foundation.readings import ProcessReading
from memdoctor.foundation.runs import OUT_OF_MEMORY, Run, RunEnd, RunReport, Verdict
from tests.golden.records import LEAK, MIB, header, timeline

LINE = Location("model.py", 41)
LOOP = Location("train.py", 20)

BREAKDOWN = Breakdown(
    allocated_bytes=30_000 * MIB,
    category_bytes={
        "activations": 21_000 * MIB,
        "optimizer state": 4_000 * MIB,
        "parameters": 2_500 * MIB,
        "gradients": 2_000 * MIB,
        "inputs and data": 400 * MIB,
        "rounding of blocks": 100 * MIB,
    },
    modules=(
        ModuleBytes("Net", 0, 29_000 * MIB, 21_000 * MIB),
        ModuleBytes("Net.encoder", 0, 28_000 * MIB, 20_500 * MIB),
        ModuleBytes("Net.encoder.layers", 0, 27_000 * MIB, 20_000 * MIB, 16_000 * MIB),
        ModuleBytes("Net.encoder.layers.0", 1_000 * MIB, 2_700 * MIB, 2_000 * MIB),
    ),
    lines=(LineBytes(LINE, 20_000 * MIB), LineBytes(LOOP, 10_000 * MIB)),
    tensors=(
        TensorBytes((64, 16, 1024, 1024), "float32", 4_096 * MIB, 4, "activations", "Net.encoder.layers.*", LINE),
        TensorBytes((50_257, 1024), "float32", 197 * MIB, 1, "parameters", "Net.embedding", LOOP),
    ),
)

CRASH = Crash(
    request_bytes=9_000 * MIB,
    allocated_bytes=30_000 * MIB,
    reserved_bytes=30_200 * MIB,
    free_bytes=7_000 * MIB,
    total_bytes=40_338 * MIB,
    mark=Birthmark("forward", "Net.encoder.layers.7", LINE, followed=True, shape=(64, 16, 1024, 2304), dtype="float32"),
    call=LINE,
    breakdown=BREAKDOWN,
    tensors=(
        LocalTensor("x", "forward", (64, 1024, 768), "float32"), LocalTensor("tokens", "train", (64, 1024), "int64"),
    ),
)

NO_GROWTH = Verdict(Growth("none", "No leak: nothing outlives its iteration.", Confidence.HIGH), ())

LEAKED = replace(LEAK.growth, bytes_per_step=4_000 * MIB, explanation="Each optimizer step keeps 3.9 GiB more.")
LOSSES = replace(LEAK.findings[0], message="Trainer.history['val_loss'] keeps 3.9 GiB more every optimizer step.")


def report(crash: Crash, verdict: Verdict = NO_GROWTH, left_mib: tuple[int, ...] = (8_600, 8_600)) -> RunReport:
    end = RunEnd(OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory.", 30_000 * MIB, crash.reserved_bytes)
    run = Run(header(), timeline(list(left_mib)), (), (), end, verdict, BREAKDOWN, crash)
    return diagnose(run, lambda path: None)


OTHERS = replace(
    CRASH, free_bytes=100 * MIB, others_bytes=9_500 * MIB, request_bytes=2_000 * MIB, breakdown=None, tensors=(),
    processes=(ProcessReading(4711, "python serve.py", 9_000 * MIB), ProcessReading(815, "", 500 * MIB)),
)

CRASHES = {
    "crash_too_big": report(CRASH),
    "crash_leak": report(CRASH, Verdict(LEAKED, (LOSSES,)), (8_600, 12_600, 16_600, 20_600, 24_600, 28_600)),
    "crash_fragmentation": report(replace(CRASH, reserved_bytes=39_500 * MIB, request_bytes=4_000 * MIB)),
    "crash_others": report(OTHERS),
}
