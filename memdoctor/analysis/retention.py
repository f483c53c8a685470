"""The findings of a run: each names the variable that keeps memory, the statement that puts it there, and the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from memdoctor.analysis.enlarging import Enlarging, enlarging
from memdoctor.analysis.lasting import Lasting, lasting
from memdoctor.analysis.names import holder_name, holder_path
from memdoctor.analysis.patterns import Kept, Pattern, enlarging_pattern, pattern_of, shell_pattern
from memdoctor.analysis.put_line import Source, put_line
from memdoctor.analysis.shells import Shell, shells
from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.foundation.locations import Location
from memdoctor.foundation.looks import LEAKS, Growth, Look, OwnerPath, Piece
from memdoctor.foundation.readings import Retainer
from memdoctor.foundation.units import KIB, MIB, format_bytes

_SURE_EVENTS = 6
_MANY_KEYS = 8
"""More keys than this are made at run time."""


def findings(looks: Sequence[Look], growth: Growth, source: Source) -> tuple[Finding, ...]:
    """What grows, the largest first. `source` gives the text of a file, or None.

    Holders that one statement fills are one finding. Nothing where the verdict is no leak.
    """
    if growth.verdict not in LEAKS:
        return ()
    empty = [_of_shell(each, source) for each in shells(looks)]
    kept = [*_of_survivors(looks, source), *(_of_enlarging(each, source) for each in enlarging(looks, source))]
    found = (
        *(_with_nodes(finding, empty) for finding in kept),
        *(finding for finding in empty if not any(_is_same(finding, other) for other in kept)),
    )
    return tuple(replace(finding, excerpt=_excerpt(finding.location, source)) for finding in found)


def _excerpt(location: Location | None, source: Source) -> str:
    """The line as it was when the program ran; empty where it cannot be read."""
    text = source(location.path) if location is not None else None
    lines = text.splitlines() if text is not None else []
    return lines[location.line - 1] if location is not None and location.line <= len(lines) else ""


def _of_survivors(looks: Sequence[Look], source: Source) -> Iterator[Finding]:
    groups: dict[Location | tuple[Piece, ...], list[Lasting]] = {}
    for each in lasting(looks):
        location = _location(each.holder.pieces, each.holder.paths, each.look, source)
        groups.setdefault(location or each.holder.pieces, []).append(each)
    for key, group in groups.items():
        yield _of_group(group, key if isinstance(key, Location) else None)


def _of_group(group: Sequence[Lasting], location: Location | None) -> Finding:
    pieces = _common([each.holder.pieces for each in group])
    survivors = sorted((survivor for each in group for survivor in each.survivors), key=lambda each: each.birth)
    paths = tuple(path for each in group for path in each.holder.paths)
    names = {holder_name(each.holder.pieces) for each in group}
    name = names.pop() if len(names) == 1 else holder_name(pieces)
    kept = Kept(name, pieces if len(group) > 1 else group[0].holder.pieces, paths, group[0].holder.is_container)
    retainer = Retainer(
        name=name,
        path=holder_path(group[0].holder.pieces),
        location=location,
        bytes_per_step=sum(each.bytes_per_tick for each in group),
        keeps_graph=kept.with_graph,
        unit=group[0].look.unit,
        since_step=survivors[0].born_step,
        tensors=len(survivors),
        also_held_by=tuple(sorted({path.also_held_by for path in paths} - {"", pieces[0].text})),
    )
    events = {survivor.born_tick for survivor in survivors}
    sure = all(each.is_regular for each in group) and len(events) >= _SURE_EVENTS
    return _finding(pattern_of(kept), retainer, Confidence.HIGH if sure else Confidence.MEDIUM)


def _of_enlarging(each: Enlarging, source: Source) -> Finding:
    name = holder_name(each.path.pieces)
    retainer = Retainer(
        name=name,
        path=holder_path(each.path.pieces),
        location=_location(each.path.pieces, [each.path], each.look, source),
        bytes_per_step=each.bytes_per_tick,
        keeps_graph=each.path.has_grad_fn,
        unit=each.look.unit,
        since_step=each.first.step,
        tensors=1,
    )
    return _finding(enlarging_pattern(name), retainer, Confidence.MEDIUM)


def _of_shell(each: Shell, source: Source) -> Finding:
    name = holder_name(_without_elements(each.path.pieces))
    retainer = Retainer(
        name=name,
        path=holder_path(each.path.pieces),
        location=_location(_without_elements(each.path.pieces), [each.path], each.look, source),
        bytes_per_step=0,
        keeps_graph=True,
        host_bytes_per_step=each.host_bytes_per_tick,
        graph_nodes_per_step=each.nodes_per_tick,
        unit=each.look.unit,
        since_step=each.first.step,
        tensors=1,
    )
    return _finding(shell_pattern(name, each.nodes_per_tick), retainer, Confidence.HIGH)


def _finding(pattern: Pattern, retainer: Retainer, confidence: Confidence) -> Finding:
    return Finding(
        code=pattern.code,
        name=pattern.name,
        severity=_severity(retainer.bytes_per_step),
        confidence=confidence,
        message=f"{retainer.name} {_growth(retainer)} {pattern.cause}",
        location=retainer.location,
        variable=retainer.name,
        advice=Advice(pattern.fix),
        cost_bytes=retainer.bytes_per_step,
        retainer=retainer,
    )


def _growth(retainer: Retainer) -> str:
    if not retainer.bytes_per_step:
        size = format_bytes(retainer.host_bytes_per_step)
        return f"keeps 0 bytes of the device and about {size} of host memory more every {retainer.unit}."
    size = format_bytes(retainer.bytes_per_step)
    so_far = f", {retainer.tensors} tensors so far" if retainer.tensors > 1 else ""
    return f"keeps {size} more every {retainer.unit} (since iteration {retainer.since_step}{so_far}; measured)."


def _severity(bytes_per_step: int) -> Severity:
    if bytes_per_step < 4 * KIB:
        return Severity.INFO
    return Severity.WARNING if bytes_per_step < MIB else Severity.ERROR


def _with_nodes(finding: Finding, shell_findings: Sequence[Finding]) -> Finding:
    """The node count of the same holder, if it was seen to grow."""
    twin = next((each for each in shell_findings if _is_same(each, finding)), None)
    if twin is None or twin.retainer is None or finding.retainer is None:
        return finding
    retainer = replace(finding.retainer, graph_nodes_per_step=twin.retainer.graph_nodes_per_step)
    return replace(finding, retainer=retainer)


def _is_same(finding: Finding, other: Finding) -> bool:
    return finding.variable == other.variable or (finding.location is not None and finding.location == other.location)


def _location(
    pieces: Sequence[Piece], paths: Sequence[OwnerPath], look: Look, source: Source
) -> Location | None:
    return put_line(pieces, _last_keys(paths), look.files, source)


def _last_keys(paths: Sequence[OwnerPath]) -> frozenset[str]:
    """The constant keys at the end of the paths: `outputs[*]['loss']`."""
    texts = ([piece.text for piece in path.pieces if piece.kind == "key" and piece.text[:1] in "'\""] for path in paths)
    keys = frozenset(each[-1] for each in texts if each)
    return keys if len(keys) <= _MANY_KEYS else frozenset()


def _common(many: Sequence[tuple[Piece, ...]]) -> tuple[Piece, ...]:
    """The common beginning, at least the root."""
    length = 0
    while all(length < len(pieces) and pieces[length] == many[0][length] for pieces in many):
        length += 1
    return many[0][: max(length, 1)]


def _without_elements(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The container itself for a path to its elements."""
    cut = next((at for at, piece in enumerate(pieces) if piece.text == "*"), len(pieces))
    return pieces[: max(cut, 1)]
