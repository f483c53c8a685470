"""How close the virtual card comes to recordings of PyTorch's CUDA build: peaks and end of every step of whole runs.

    python benchmarks/gpu_accuracy.py --oracle FOLDER [--whole]

`FOLDER` holds `traces/train_summary.json` and `real/summary.json`: runs of PyTorch recorded on stub libraries, of the
scripts in `models` and `real/models`. The second set needs transformers, timm, torchvision and peft. Without
`--whole`, every seventh run of that set is repeated. The third set is in this repository, `tests/virtual/recorded`. The
recordings have no CUDA context and no workspace of cuDNN, so the virtual card is asked for none. A run's error is that
of its worst step; "exact" is equal to the byte in all steps. Where every allocation and free was recorded, their sizes
are compared in their order; frees that follow each other may come in any.
"""

from __future__ import annotations

import argparse
import collections
import difflib
import itertools
import json
import multiprocessing
import os
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import _recorded_run
from _results import write

CARDS = {"90": "h100-80gb", "89": "rtx4090", "80": "a100-80gb", "75": "t4"}
CARD_BYTES = 84_929_347_584
"""Of the recordings that name no other capacity."""
ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests/virtual/recorded"
SAMPLE = 7
"""One of so many runs of real packages is repeated."""
SECONDS = 150
PARALLEL_RUNS = 2
IMPORTED_ONCE = ["_recorded_run", "torch._dynamo", "transformers"]
"""What most runs import, for longer than they run."""
COUNTERS = {"allocated": "max_allocated", "reserved": "max_reserved", "end": "end_allocated"}


class Outcome(NamedTuple):
    """`errors` are relative, by counter; None where the run failed, for the reason in `failure`."""

    name: str
    family: str
    errors: dict[str, float] | None
    failure: str
    equal_events: float | None = None
    """Share, where they were recorded."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the virtual card with recorded runs.")
    parser.add_argument("--oracle", type=Path, required=True, help="folder with the recorded runs")
    parser.add_argument("--whole", action="store_true", help="all runs of real packages, not a sample")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    figures: dict[str, object] = {
        "training scripts": compared(
            read(options.oracle / "traces/train_summary.json"), options.oracle / "models",
            options.oracle / "traces/train"),
        "real packages": compared(
            read(options.oracle / "real/summary.json")[::1 if options.whole else SAMPLE],
            options.oracle / "real/models", options.oracle / "real/events"),
        "programs of the tests": compared(own_programs(), PROGRAMS, PROGRAMS),
    }
    print(write("gpu_accuracy", figures))


def read(summary: Path) -> list[tuple[str, dict[str, Any]]]:
    return list(json.loads(summary.read_text(encoding="utf-8")).items())


def own_programs() -> list[tuple[str, dict[str, Any]]]:
    """In the form of the recorded summaries."""
    sys.path.insert(0, str(ROOT))
    from tests.virtual.recorded import programs

    recorded = json.loads((PROGRAMS / "peaks.json").read_text(encoding="utf-8"))
    capabilities = {card: capability for capability, card in CARDS.items()}
    return [(name, {
        "script": "by_name.py", "kw": {"name": name}, "family": programs.PROGRAMS[name].__module__.rpartition(".")[2],
        "env": {"FAKECUDA_CC": capabilities[programs.card_of(name)]},
        "iters": [dict(zip(COUNTERS.values(), step)) for step in steps],
    }) for name, steps in recorded.items()]


def compared(recorded: list[tuple[str, dict[str, Any]]], models: Path, events: Path) -> dict[str, object]:
    """Repeat the runs, and say how they came out."""
    with ThreadPoolExecutor(PARALLEL_RUNS) as pool:
        outcomes = []
        for outcome in pool.map(lambda item: repeated(*item, models, events / f"{item[0]}.json"), recorded):
            print(f"{outcome.name:34} {outcome.failure or outcome.errors} {outcome.equal_events}", flush=True)
            outcomes.append(outcome)
    return summarized(outcomes)


def repeated(name: str, run: dict[str, Any], models: Path, events: Path) -> Outcome:
    """One run in a process of its own, against its recording."""
    family = run.get("family") or Path(run["script"]).stem
    got = answer({**job(run, models), "wants_events": events.exists()})
    if isinstance(got, str):
        return Outcome(name, family, None, got)
    equal_events = equal_share(got["events"], recorded_events(events)) if got["events"] else None
    return judged(name, family, got["steps"], run["iters"])._replace(equal_events=equal_events)


def answer(asked: dict[str, Any]) -> dict[str, Any] | str:
    """What a run counted, or why it failed; models keep state in modules, so each has a fork of an idle process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_recorded_run.answer, args=(asked, sender))
    process.start()
    sender.close()
    try:
        got: dict[str, Any] | str = receiver.recv() if receiver.poll(SECONDS) else f"more than {SECONDS} s"
    except EOFError:
        process.join()
        got = f"ended with exit code {process.exitcode}"
    process.kill()
    process.join()
    return got


def job(run: dict[str, Any], models: Path) -> dict[str, Any]:
    environment = run.get("env") or {}
    return {
        "path": str((models / run["script"]).resolve()),
        "arguments": run["kw"],
        "steps": len(run["iters"]),
        "allocator_conf": run.get("conf") or "",
        "card": CARDS[str(environment.get("FAKECUDA_CC", "90"))],
        "capacity_bytes": int(environment.get("FAKECUDA_MEM_BYTES", CARD_BYTES)),
    }


def judged(name: str, family: str, got: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> Outcome:
    """The card must be full at the same step, or at none."""
    full = [[bool(step.get("oom")) for step in steps] for steps in (got, wanted)]
    if full[0] != full[1]:
        return Outcome(name, family, None, f"out of memory at {full[0]}, recorded {full[1]}")
    errors = {
        counter: max(abs(mine[key] - theirs[key]) / max(theirs[key], 1) for mine, theirs in zip(got, wanted))
        for counter, key in COUNTERS.items()
    }
    return Outcome(name, family, errors, "")


def recorded_events(path: Path) -> list[int]:
    """Bytes of every allocation after the model was made, negative where it is freed."""
    sizes: dict[int, int] = {}
    found: list[int] = []
    has_begun = False
    for kind, *details in json.loads(path.read_text(encoding="utf-8"))["events"]:
        has_begun = has_begun or kind == "ITER"
        if kind == "a":
            sizes[details[0]] = details[1]
        if has_begun and kind in ("a", "f"):
            found.append(sizes[details[0]] if kind == "a" else -sizes[details[0]])
    return found


def equal_share(mine: list[int], theirs: list[int]) -> float:
    """Of the longer of the two."""
    mine, theirs = ordered(mine), ordered(theirs)
    if mine == theirs:
        return 1.0
    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / max(len(mine), len(theirs))


def ordered(events: list[int]) -> list[int]:
    """Frees that follow each other, by size."""
    runs = (list(run) for _, run in itertools.groupby(events, key=lambda event: event > 0))
    return [event for run in runs for event in (run if run[0] > 0 else sorted(run))]


def summarized(outcomes: list[Outcome]) -> dict[str, object]:
    errors = [outcome.errors for outcome in outcomes if outcome.errors is not None]
    return {
        "runs": len(outcomes),
        "failed": {outcome.name: outcome.failure for outcome in outcomes if outcome.failure},
        **{counter: distribution([error[counter] for error in errors]) for counter in COUNTERS},
        "equal events": event_shares([
            outcome.equal_events for outcome in outcomes if outcome.equal_events is not None]),
        "residuals by family, worst run": by_family(outcomes),
    }


def distribution(errors: list[float]) -> dict[str, object]:
    """Relative errors; the ninetieth percentile is the run at that rank."""
    ordered = sorted(errors)
    return {
        "exact": sum(not error for error in ordered),
        "median": round(statistics.median(ordered), 6),
        "p90": round(ordered[int(0.9 * (len(ordered) - 1))], 6),
        "max": round(ordered[-1], 6),
    }


def event_shares(shares: list[float]) -> dict[str, object]:
    if not shares:
        return {"runs": 0}
    return {
        "runs": len(shares), "all equal": sum(share == 1 for share in shares),
        "mean": round(statistics.mean(shares), 5), "least": round(min(shares), 5),
    }


def by_family(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Families in which some run is not exact."""
    worst: dict[str, dict[str, float]] = collections.defaultdict(lambda: dict.fromkeys(COUNTERS, 0.0))
    for outcome in outcomes:
        for counter, error in (outcome.errors or {}).items():
            worst[outcome.family][counter] = max(worst[outcome.family][counter], round(error, 6))
    return {family: errors for family, errors in sorted(worst.items()) if any(errors.values())}


if __name__ == "__main__":
    main()
