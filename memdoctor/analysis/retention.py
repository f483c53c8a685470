"""The findings of a run: each names the variable that keeps memory, the statement that puts it there, and the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from memdoctor.analysis.enlarging import Enlarging, enlarging
from memdoctor.analysis.hoards import Hoard, hoards
from memdoctor.analysis.lasting import SHARE_OF_LARGEST, Lasting, lasting
from memdoctor.analysis.names import holder_name, holder_path
from memdoctor.analysis.patterns import Kept, Pattern, enlarging_pattern, pattern_of, shell_pattern
from memdoctor.analysis.put_line import Source, as_put, put_line
from memdoctor.analysis.shells import Shell, shells, starred
from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.foundation.locations import Location
from memdoctor.foundation.looks import LEAKS, Growth, Look, OwnerPath, Piece
from memdoctor.foundation.readings import Retainer
from memdoctor.foundation.units import KIB, MIB, format_bytes

_SURE_EVENTS = 6
_MANY_KEYS = 8
"""More keys than this are made at run time."""


def findings(
    looks: Sequence[Look], growth: Growth, source: Source, *, capacity_bytes: int | None = None
) -> tuple[Finding, ...]:
    """What grows, the largest first. `source` gives the text of a file, or None; `capacity_bytes` is the card's.

    Holders that one statement fills are one finding. Nothing where the verdict is no leak.
    """
    if growth.verdict not in LEAKS:
        return ()
    empty = shells(looks)
    lasts, grows = lasting(looks, capacity_bytes, source), enlarging(looks, source)
    kept = [*_of_survivors(lasts, source), *_of_all_enlarging(grows, source)]
    alone = [shell for shell in empty if not any(each.keeps(shell) for each in kept)]
    of_host = (_of_hoard(each, source) for each in hoards(looks, source))
    found = (*(_with_nodes(each, empty) for each in kept), *_of_shells(alone, source), *of_host)
    return tuple(replace(finding, excerpt=_excerpt(finding.location, source)) for finding in found)


def _excerpt(location: Location | None, source: Source) -> str:
    """The line as it was when the program ran; empty where it cannot be read."""
    text = source(location.path) if location is not None else None
    lines = text.splitlines() if text is not None else []
    return lines[location.line - 1] if location is not None and location.line <= len(lines) else ""


@dataclass(frozen=True)
class _Found:
    finding: Finding
    holders: tuple[tuple[Piece, ...], ...]

    def keeps(self, shell: Shell) -> bool:
        """True if the graph is that of what this one holds, or if both are the same variable."""
        path = starred(shell.path.pieces)
        is_below = any(path[: len(holder)] == starred(holder) for holder in self.holders)
        return is_below or self.finding.variable == holder_name(_without_elements(shell.path.pieces))


def _of_survivors(lasts: Sequence[Lasting], source: Source) -> Iterator[_Found]:
    groups: dict[Location | tuple[Piece, ...], list[Lasting]] = {}
    for each in lasts:
        location = _location(each.holder.pieces, each.holder.paths, each.look, source)
        groups.setdefault(location or each.holder.pieces, []).append(each)
    sizes = {key: sum(each.bytes_per_tick for each in group) for key, group in groups.items()}
    for key, group in groups.items():
        if sizes[key] < SHARE_OF_LARGEST * max(sizes.values()):
            continue
        finding = _of_group(group, key if isinstance(key, Location) else None, source)
        yield _Found(finding, tuple(each.holder.pieces for each in group))


def _of_all_enlarging(grows: Sequence[Enlarging], source: Source) -> Iterator[_Found]:
    for each in grows:
        yield _Found(_of_enlarging(each, source), (each.path.pieces,))


def _of_group(group: Sequence[Lasting], location: Location | None, source: Source) -> Finding:
    first = group[0]
    survivors = sorted((survivor for each in group for survivor in each.survivors), key=lambda each: each.birth)
    paths = tuple(path for each in group for path in each.holder.paths)
    pieces = _common([each.holder.pieces for each in group])
    name = _name(group, pieces, source)
    whole = pieces if len(group) > 1 else first.holder.pieces
    kept = Kept(name, whole, paths, first.holder.is_container, is_backlog=first.is_backlog)
    retainer = Retainer(
        name=name,
        path=holder_path(first.holder.pieces),
        location=location,
        bytes_per_step=sum(each.bytes_per_tick for each in group),
        keeps_graph=kept.with_graph,
        unit=first.look.unit,
        since_step=min(each.since_step for each in group),
        tensors=len(survivors),
        is_cut=first.look.survivors_cut,
        also_held_by=tuple(sorted({path.also_held_by for path in paths} - {"", pieces[0].text})),
    )
    events = {survivor.born_tick for survivor in survivors}
    sure = all(each.is_regular for each in group) and len(events) >= _SURE_EVENTS
    return _finding(pattern_of(kept), retainer, Confidence.HIGH if sure else Confidence.MEDIUM)


def _name(group: Sequence[Lasting], pieces: tuple[Piece, ...], source: Source) -> str:
    """Of several holders what their paths have in common, unless all have the same name."""
    names = {
        holder_name(as_put(each.holder.pieces, _last_keys(each.holder.paths), each.look.files, source))
        for each in group
    }
    return names.pop() if len(names) == 1 else holder_name(pieces)


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


def _of_shells(empty: Sequence[Shell], source: Source) -> Iterator[Finding]:
    """One finding for all that one statement makes longer: the averages of all parameters."""
    groups: dict[Location | tuple[Piece, ...], list[Shell]] = {}
    for shell in empty:
        pieces = _without_elements(shell.path.pieces)
        location = _location(pieces, [shell.path], shell.look, source)
        groups.setdefault(location or pieces, []).append(shell)
    for key, group in groups.items():
        yield _of_shell(group, key if isinstance(key, Location) else None)


def _of_shell(group: Sequence[Shell], location: Location | None) -> Finding:
    first = group[0]
    name = holder_name(_common([_without_elements(each.path.pieces) for each in group]))
    nodes = sum(each.nodes_per_tick for each in group)
    retainer = Retainer(
        name=name,
        path=holder_path(first.path.pieces),
        location=location,
        bytes_per_step=0,
        keeps_graph=True,
        host_bytes_per_step=max(each.host_bytes_per_tick for each in group),  # each is that of the process
        graph_nodes_per_step=nodes,
        unit=first.look.unit,
        since_step=first.first.step,
        tensors=len(group),
    )
    is_scalar = all(each.path.is_scalar for each in group)
    return _finding(shell_pattern(name, nodes, is_scalar=is_scalar), retainer, Confidence.HIGH)


def _of_hoard(each: Hoard, source: Source) -> Finding:
    name, size = holder_name(each.pieces), format_bytes(each.bytes_per_tick)
    retainer = Retainer(
        name=name,
        path=holder_path(each.pieces),
        location=_location(each.pieces, (), each.look, source),
        bytes_per_step=0,
        keeps_graph=False,
        host_bytes_per_step=each.bytes_per_tick,
        unit=each.look.unit,
        since_step=each.first.step,
    )
    return Finding(
        code="MD505",
        name="host-memory-grows",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        message=f"{name} keeps {size} of host memory more every {each.look.unit} (measured), in arrays and tensors.",
        location=retainer.location,
        variable=name,
        advice=Advice(f"Write to a file what is put into {name}, or bound it (`deque(maxlen=...)`)."),
        retainer=retainer,
    )


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
    return f"keeps {size} more every {retainer.unit} ({_so_far(retainer)}; measured)."


def _so_far(retainer: Retainer) -> str:
    """The oldest of very many tensors are not counted."""
    if retainer.is_cut:
        return f"since iteration {retainer.since_step} or before, at least {retainer.tensors:,} tensors so far"
    count = f", {retainer.tensors:,} tensors so far" if retainer.tensors > 1 else ""
    return f"since iteration {retainer.since_step}{count}"


def _severity(bytes_per_step: int) -> Severity:
    if bytes_per_step < 4 * KIB:
        return Severity.INFO
    return Severity.WARNING if bytes_per_step < MIB else Severity.ERROR


def _with_nodes(found: _Found, empty: Sequence[Shell]) -> Finding:
    """The finding with the nodes of its graphs, if they were seen to grow."""
    nodes = sum(shell.nodes_per_tick for shell in empty if found.keeps(shell))
    if not nodes or found.finding.retainer is None:
        return found.finding
    return replace(found.finding, retainer=replace(found.finding.retainer, graph_nodes_per_step=nodes))


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
