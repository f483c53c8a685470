"""Graphs that grow although backward has freed what they had saved: host memory, no device bytes.

The classic is `total_loss += loss` after `loss.backward()`: a chain of nodes that gets longer with each iteration.
No counter of a device shows it; the nodes that live variables reach are counted at a few iterations far apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memdoctor.foundation.looks import Look, OwnerPath, Piece

_FEWEST_LOOKS = 3
_LARGEST_RATIO = 1.3
"""Between the rates of two stretches."""


@dataclass(frozen=True)
class Shell:
    """A variable whose graph gets longer."""

    path: OwnerPath
    nodes_per_tick: int
    first: Look
    look: Look

    @property
    def host_bytes_per_tick(self) -> int:
        """Growth of the process between the two looks; not attributed node by node."""
        return max(0, round((self.look.host_bytes - self.first.host_bytes) / (self.look.tick - self.first.tick)))


def shells(looks: Sequence[Look]) -> tuple[Shell, ...]:
    """Variables whose graph had grown at each look, at a steady rate, and still began with the same node.

    An episode that gets longer with training has more nodes each time too, but other ones.
    """
    complete = [look for look in looks if look.complete and not look.evaluates]
    found: list[Shell] = []
    for unit in dict.fromkeys(look.unit for look in complete):
        of_unit = [look for look in complete if look.unit == unit]
        elements = _elements(of_unit[-1])
        counts = [_nodes(look, elements) for look in of_unit]
        found.extend(filter(None, (_shell(pieces, of_unit, counts) for pieces in counts[-1])))
    return tuple(found)


_Pieces = tuple[Piece, ...]
_Counts = dict[_Pieces, OwnerPath]


def _elements(look: Look) -> frozenset[_Pieces]:
    """Beginnings of paths up to an element of a container that has many."""
    paths = (path.pieces for path in look.paths if path.graph_nodes)
    return frozenset(
        pieces[:at + 1] for pieces in paths for at, piece in enumerate(pieces)
        if piece.kind == "index" and piece.text == "*"
    )


def _nodes(look: Look, elements: frozenset[_Pieces]) -> _Counts:
    """Nodes by variable or container; of variables that each iteration writes anew none."""
    counts: _Counts = {}
    for path in look.paths:
        if path.carried and path.graph_nodes:
            pieces = _as_one(path.pieces, elements)
            known = counts.get(pieces)
            counts[pieces] = path.joined(known, pieces) if known is not None else replace(path, pieces=pieces)
    return counts


def _as_one(pieces: _Pieces, elements: frozenset[_Pieces]) -> _Pieces:
    """One name for all elements of a container that has many in the end."""
    named: _Pieces = ()
    for piece in pieces:
        element = (*named, replace(piece, text="*"))
        named = element if element in elements else (*named, piece)
    return named


def starred(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """One name for all elements of a container."""
    return tuple(replace(piece, text="*") if piece.kind == "index" else piece for piece in pieces)


def _shell(pieces: tuple[Piece, ...], looks: Sequence[Look], counts: Sequence[_Counts]) -> Shell | None:
    seen = [(look, count[pieces]) for look, count in zip(looks, counts) if pieces in count]
    if len(seen) < _FEWEST_LOOKS or len({path.oldest_node for _, path in seen}) > 1:
        return None
    rates = [_rate(earlier, later) for earlier, later in zip(seen, seen[1:])]
    if min(rates) <= 0 or max(rates) > _LARGEST_RATIO * min(rates):
        return None
    return Shell(seen[-1][1], round(_rate(seen[0], seen[-1])), seen[0][0], seen[-1][0])


def _rate(earlier: tuple[Look, OwnerPath], later: tuple[Look, OwnerPath]) -> float:
    return (later[1].graph_nodes - earlier[1].graph_nodes) / (later[0].tick - earlier[0].tick)
