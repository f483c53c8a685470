"""Does a run keep more and more memory? The verdict is that of the last look; while running it is only "so far"."""

from __future__ import annotations

from collections.abc import Sequence

from memdoctor.analysis.enlarging import Enlarging, enlarging
from memdoctor.analysis.hoards import Hoard, hoards
from memdoctor.analysis.lasting import Lasting, filling, lasting, survivor_events
from memdoctor.analysis.names import holder_name
from memdoctor.analysis.put_line import Source, no_source
from memdoctor.analysis.shells import Shell, shells
from memdoctor.foundation.findings import Confidence
from memdoctor.foundation.looks import Growth, Look
from memdoctor.foundation.readings import MemoryReading, Timeline
from memdoctor.foundation.units import format_bytes

_FEWEST_EVENTS = 4
_TOO_SHORT = 12
"""Iterations below which a buffer that fills cannot be told from a leak."""
_SETTLED = 4
"""A look after this one would see what had been made in the iterations before."""
_RARE_GAP = 2
_EARLY_PART = 4
_LARGE_SWING = 1.25
"""The peak over that of the first quarter, where it is worth a word."""


def decide(
    timeline: Timeline, looks: Sequence[Look], *, capacity_bytes: int | None = None, source: Source = no_source
) -> Growth:
    """The verdict on a whole run.

    `capacity_bytes` is the size of the card, if it is known; `source` gives the text of a file, which tells a tensor
    that grows from a batch that happens to be larger.
    """
    lasts, grows = lasting(looks, capacity_bytes, source), enlarging(looks, source)
    if (lasts or grows) and _are_stale(timeline, looks):
        return Growth("none", "This run could not be judged: searching its heap took too much time.", Confidence.LOW)
    if lasts or grows:
        return _leak(timeline, looks[-1], lasts, grows, capacity_bytes)
    longer, gathered = shells(looks), hoards(looks, source)
    if longer:
        return _host_leak(longer)
    if gathered and not _are_stale(timeline, looks):
        return _host_fills(gathered)
    if looks and len(survivor_events(looks[-1])) >= _FEWEST_EVENTS:
        return _plateau(looks, filling(looks, capacity_bytes, source))
    return _no_leak(timeline, looks)


def _are_stale(timeline: Timeline, looks: Sequence[Look]) -> bool:
    """Where something grows, a search follows each fifth of the run, unless searches were too dear."""
    return bool(timeline.readings) and looks[-1].step < timeline.readings[-1].step / 2


def _leak(
    timeline: Timeline, last: Look, lasts: Sequence[Lasting], grows: Sequence[Enlarging], capacity_bytes: int | None
) -> Growth:
    unit = lasts[0].look.unit if lasts else grows[0].look.unit
    bytes_per_step = sum(each.bytes_per_tick for each in lasts if each.look.unit == unit)
    bytes_per_step += sum(each.bytes_per_tick for each in grows if each.look.unit == unit)
    since = min([each.since_step for each in lasts], default=grows[0].first.step if grows else 0)
    return Growth(
        verdict="leak",
        explanation=_what_grows(lasts, timeline, unit, bytes_per_step, since),
        confidence=_confidence(lasts, last),
        bytes_per_step=bytes_per_step,
        since_step=since,
        full_at_step=_full_at_step(timeline, (lasts or grows)[0].look, bytes_per_step, capacity_bytes),
        unexplained_bytes_per_step=_unexplained(last),
        unit=unit,
    )


def _what_grows(
    lasts: Sequence[Lasting], timeline: Timeline, unit: str, bytes_per_step: int, since: int
) -> str:
    size = format_bytes(bytes_per_step)
    where = " in evaluation" if lasts and lasts[0].look.evaluates else ""
    text = f"Each {unit}{where} keeps {size} more, since iteration {since}."
    if lasts and lasts[0].gap >= _RARE_GAP:
        rare = f"About every {lasts[0].gap:.0f} {unit}s{where} something is kept"
        text = f"{rare}, {size} for each of them on average, since iteration {since}."
    is_late = since > timeline.iterations / 3
    return f"{text} The iterations before that kept nothing." if is_late else text


def _confidence(lasts: Sequence[Lasting], last: Look) -> Confidence:
    if not lasts or not any(each.is_regular for each in lasts):
        return Confidence.LOW if lasts else Confidence.MEDIUM
    return Confidence.HIGH if last.tick >= _TOO_SHORT else Confidence.MEDIUM


def _full_at_step(timeline: Timeline, look: Look, bytes_per_step: int, capacity_bytes: int | None) -> int | None:
    """As an iteration of the whole run, in which those of other units, such as calls in evaluation, count too."""
    if capacity_bytes is None or not bytes_per_step or not timeline.readings:
        return None
    ticks_left = max(0, capacity_bytes - timeline.peak_allocated_bytes) / bytes_per_step
    return timeline.readings[-1].step + int(ticks_left * max(1.0, look.step / max(1, look.tick)))


def _unexplained(look: Look) -> int:
    """Growth by survivors that no path claims; 0 where there are too few to be growth."""
    claimed = {birth for path in look.paths for birth in path.storages}
    rest = [survivor for survivor in look.survivors if survivor.birth not in claimed]
    ticks = sorted({survivor.born_tick for survivor in rest})
    if len(ticks) < _FEWEST_EVENTS:
        return 0
    return round(sum(each.block_bytes for each in rest if each.born_tick < ticks[-1]) / (ticks[-1] - ticks[0]))


def _host_leak(longer: Sequence[Shell]) -> Growth:
    unit = max(longer, key=lambda shell: shell.nodes_per_tick).look.unit
    nodes = sum(shell.nodes_per_tick for shell in longer if shell.look.unit == unit)
    return Growth(
        verdict="host-leak",
        explanation=f"Device memory is constant; {nodes} graph nodes more stay on the host at each {unit}.",
        confidence=Confidence.HIGH,
        unit=unit,
    )


def _host_fills(gathered: Sequence[Hoard]) -> Growth:
    unit = gathered[0].look.unit
    size = format_bytes(sum(each.bytes_per_tick for each in gathered if each.look.unit == unit))
    text = f"Each {unit} keeps {size} more of the host's memory; that of the device is constant."
    return Growth("host-leak", text, Confidence.MEDIUM, since_step=gathered[0].first.step, unit=unit)


def _plateau(looks: Sequence[Look], fills: Sequence[Lasting]) -> Growth:
    last = looks[-1]
    unexplained = _unexplained(last)
    if fills:
        text = f"No leak so far: {' '.join(map(_filling, fills))}"
    elif unexplained:
        text = "Some tensors outlive their iteration though no variable is seen to hold them: a library or a graph may."
    else:
        text = "No leak: some tensors outlive their iteration, but what holds them lets old ones go or is bounded."
    return Growth("plateau", text, Confidence.MEDIUM, unexplained_bytes_per_step=unexplained, unit=last.unit)


def _filling(each: Lasting) -> str:
    name, rate = holder_name(each.holder.pieces), format_bytes(each.bytes_per_tick)
    full = f"{each.limit} elements" if each.limit else f"{each.capacity:,} elements, {format_bytes(each.full_bytes)}"
    return f"{name} fills, {rate} each {each.look.unit}, and holds at most {full}."


def _no_leak(timeline: Timeline, looks: Sequence[Look]) -> Growth:
    if timeline.iterations < _TOO_SHORT:
        return Growth("none", _short(timeline, looks), Confidence.LOW)
    worst = _worst(timeline.readings)
    if worst is not None:
        size = format_bytes(worst.peak_bytes)
        text = f"No leak: iteration {worst.step} needed the most, {size}; nothing of it outlived it."
        return Growth("worst-batch", text, Confidence.MEDIUM)
    return Growth("none", "No leak: nothing outlives its iteration.", Confidence.HIGH)


def _short(timeline: Timeline, looks: Sequence[Look]) -> str:
    count = "1 iteration is" if timeline.iterations == 1 else f"{timeline.iterations} iterations are"
    if any(look.survivors for look in looks) or not _is_calm(timeline.readings, looks):
        return f"{count} too few to tell a filling buffer from a leak."
    return f"No leak in these {timeline.iterations} iterations: nothing outlives its iteration."


def _is_calm(readings: Sequence[MemoryReading], looks: Sequence[Look]) -> bool:
    """No more is allocated than after the second iteration; the host tells nothing, but what was searched for there."""
    if not any(reading.allocated_bytes for reading in readings):
        return any(look.tick > _SETTLED for look in looks)
    return len(readings) > 2 and readings[-1].allocated_bytes <= readings[1].allocated_bytes


def _worst(readings: Sequence[MemoryReading]) -> MemoryReading | None:
    """The iteration with the peak, if that is far above the early ones and more than what has stayed since."""
    early, last = readings[len(readings) // _EARLY_PART], readings[-1]
    worst = next(reading for reading in readings if reading.peak_bytes == last.peak_bytes)
    stayed_bytes = min(reading.allocated_bytes for reading in readings if reading.step >= worst.step)
    passing_bytes = worst.peak_bytes - early.peak_bytes - max(0, stayed_bytes - early.allocated_bytes)
    return worst if passing_bytes > (_LARGE_SWING - 1) * early.peak_bytes else None
