"""Why the card was full, from what was seen at the moment it refused, and what to change first.

Five causes are told apart. A leak is one only if what it has gathered is a good part of the card; fragmentation only
if the request would fit into what PyTorch holds and does not use; another process or a limit only if the request would
fit without. Everything else is too big at one moment, also where the program merely loads what does not fit.
"""

from __future__ import annotations

from memdoctor.analysis.savings import savings
from memdoctor.foundation import breakdown as names
from memdoctor.foundation.breakdown import Crash
from memdoctor.foundation.findings import Confidence
from memdoctor.foundation.runs import Cause, Verdict
from memdoctor.foundation.units import format_bytes

LEAK = "leak"
FRAGMENTATION = "fragmentation"
OTHERS = "other processes"
LIMIT = "limit"
TOO_BIG = "too big at one moment"

_GOOD_PART = 0.1
"""Of the bytes in use: less would not have saved the run for long."""
_CLEARLY_LARGER = 1.25


def cause_of(crash: Crash, verdict: Verdict, iterations: int) -> Cause:
    """The verdict on a crash; `iterations` is how many the run has seen."""
    if _is_leak(crash, verdict, iterations):
        return _leak(crash, verdict, iterations)
    if _is_retry(crash):
        return _too_big(crash, is_first=not iterations)
    if _is_limit(crash):
        return _limit(crash)
    if _is_fragmentation(crash):
        return _fragmentation(crash)
    if _is_others(crash):
        return _others(crash)
    return _too_big(crash, is_first=not iterations)


def _is_leak(crash: Crash, verdict: Verdict, iterations: int) -> bool:
    growth = verdict.growth
    gathered_bytes = growth.bytes_per_step * iterations
    is_sure = growth.verdict == "leak" and growth.confidence is not Confidence.LOW
    return is_sure and gathered_bytes >= _GOOD_PART * crash.allocated_bytes and _would_fit(crash, gathered_bytes)


def _would_fit(crash: Crash, gathered_bytes: int) -> bool:
    """Whether there had been room without what the leak has gathered."""
    unused_bytes = crash.free_bytes + crash.reserved_bytes - crash.allocated_bytes
    return not crash.total_bytes or crash.request_bytes <= unused_bytes + gathered_bytes


def _is_retry(crash: Crash) -> bool:
    """Whatever else was in the way, the rest of the attempt before has to go first."""
    return crash.retried_bytes >= max(1.0, _GOOD_PART * crash.allocated_bytes)


def _is_limit(crash: Crash) -> bool:
    if crash.limit_bytes is None:
        return False
    return crash.reserved_bytes + crash.request_bytes > crash.limit_bytes and crash.free_bytes >= crash.request_bytes


def _is_fragmentation(crash: Crash) -> bool:
    is_much = crash.stranded_bytes >= _GOOD_PART * crash.allocated_bytes
    return is_much and 0 < crash.request_bytes <= crash.stranded_bytes


def _is_others(crash: Crash) -> bool:
    is_much = crash.others_bytes >= _GOOD_PART * crash.total_bytes
    return is_much and 0 < crash.request_bytes <= crash.free_bytes + crash.others_bytes


def _leak(crash: Crash, verdict: Verdict, iterations: int) -> Cause:
    growth = verdict.growth
    gathered = format_bytes(min(growth.bytes_per_step * iterations, crash.allocated_bytes))
    worst = verdict.findings[0] if verdict.findings else None
    who = f"{worst.variable} at {worst.location or 'an unknown line'}" if worst is not None else "The program"
    explanation = (
        f"{who} keeps {format_bytes(growth.bytes_per_step)} more each {growth.unit}: after {iterations} of them about "
        f"{gathered} of the {format_bytes(crash.allocated_bytes)} in use. {_request(crash)}"
    )
    return Cause(LEAK, explanation)


def _limit(crash: Crash) -> Cause:
    limit = format_bytes(crash.limit_bytes or 0)
    explanation = (
        f"{_request(crash)} This process may have {limit} of the card, and {format_bytes(crash.free_bytes)} of the card"
        " are free."
    )
    advice = f"Raise torch.cuda.set_per_process_memory_fraction: up to {format_bytes(crash.free_bytes)} more."
    return Cause(LIMIT, explanation, (advice, *savings(crash)))


def _fragmentation(crash: Crash) -> Cause:
    stranded = format_bytes(crash.stranded_bytes)
    explanation = f"{_request(crash)} PyTorch holds {stranded} that are free, but no piece of it is large enough."
    return Cause(FRAGMENTATION, explanation, (
        f"Start with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True: up to {stranded} become usable.",
        "Use few different sizes: pad batches to a handful of lengths, and run the largest one first.",
    ))


def _others(crash: Crash) -> Cause:
    others = format_bytes(crash.others_bytes)
    explanation = f"{_request(crash)} Other processes hold {others} of the card's {format_bytes(crash.total_bytes)}."
    return Cause(OTHERS, explanation, (
        f"`memdoctor gpus` lists them; without them there are up to {others} more.",
        "Or take another card: CUDA_VISIBLE_DEVICES=1.",
    ))


def _too_big(crash: Crash, *, is_first: bool) -> Cause:
    parts = (_request(crash, is_first=is_first), _most(crash), _retried(crash), _larger_batch(crash))
    return Cause(TOO_BIG, " ".join(part for part in parts if part), savings(crash))


def _request(crash: Crash, *, is_first: bool = False) -> str:
    """Who asked for how much, and what was in use by then."""
    what = f"asked for {format_bytes(crash.request_bytes)}" if crash.request_bytes else "asked for memory"
    tensor = f" ({crash.mark.dtype} {list(crash.mark.shape)})" if crash.mark.shape else ""
    in_use = f" while {format_bytes(crash.allocated_bytes)} were in use" if crash.allocated_bytes else ""
    card = f" on a card of {format_bytes(crash.total_bytes)}" if in_use and crash.total_bytes else ""
    return f"{_where(crash, is_first=is_first)} {what}{tensor}{in_use}{card}."


def _where(crash: Crash, *, is_first: bool) -> str:
    mark, call = crash.mark, crash.call
    phase = mark.phase if mark.phase != names.OUTSIDE else ""
    first = "first " if is_first and mark.phase == names.OPTIMIZER_STEP else ""
    origin = f" of {mark.location}" if mark.phase == names.BACKWARD and mark.location not in (None, call) else ""
    inside = ", ".join(part for part in (first + phase + origin, mark.module) if part)
    return f"{call or 'A line that is not known'}{f' ({inside})' if inside else ''}"


def _most(crash: Crash) -> str:
    """What fills the card, unless the request alone would have."""
    if crash.breakdown is None or crash.request_bytes > crash.allocated_bytes or not crash.allocated_bytes:
        return ""
    name, nbytes = next(iter(crash.breakdown.category_bytes.items()), ("", 0))
    wasted = name == names.ACTIVATIONS and crash.gradients_in_evaluation
    why = ", kept for a backward that never runs: the model evaluates with gradients on" if wasted else ""
    return f"{100 * nbytes // crash.allocated_bytes} % of that was {name}{why}." if nbytes else ""


def _retried(crash: Crash) -> str:
    if not _is_retry(crash):
        return ""
    return (
        f"{format_bytes(crash.retried_bytes)} of it are of an attempt that had run out of memory before: its error is "
        "still being handled, and keeps them alive."
    )


def _larger_batch(crash: Crash) -> str:
    """Only while the model computes: later its last call may be long over."""
    computes = crash.mark.phase in (names.FORWARD, names.BACKWARD) or crash.mark.followed
    times = crash.batch_bytes / crash.largest_batch_bytes if crash.largest_batch_bytes else 0.0
    if not computes or times < _CLEARLY_LARGER:
        return ""
    return f"This batch is {times:.1f} times the largest before it."
