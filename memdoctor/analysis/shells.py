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
    """Variables whose graph had grown at each look, at a steady rate."""
    complete = [look for look in looks if look.complete and not look.evaluates]
    found: list[Shell] = []
    for unit in dict.fromkeys(look.unit for look in complete):
        of_unit = [look for look in complete if look.unit == unit]
        counts = [_nodes(look) for look in of_unit]
        found.extend(filter(None, (_shell(pieces, of_unit, counts) for pieces in counts[-1])))
    return tuple(found)


_Counts = dict[tuple[Piece, ...], tuple[OwnerPath, int]]


def _nodes(look: Look) -> _Counts:
    """Nodes by variable or container; of variables that each iteration writes anew none."""
    counts: _Counts = {}
    for path in look.paths:
        if path.carried and path.graph_nodes:
            pieces = tuple(replace(piece, text="*") if piece.kind == "index" else piece for piece in path.pieces)
            before = counts.get(pieces, (path, 0))[1]
            counts[pieces] = (replace(path, pieces=pieces), before + path.graph_nodes)
    return counts


def _shell(pieces: tuple[Piece, ...], looks: Sequence[Look], counts: Sequence[_Counts]) -> Shell | None:
    seen = [(look, count[pieces][1]) for look, count in zip(looks, counts) if pieces in count]
    if len(seen) < _FEWEST_LOOKS:
        return None
    rates = [(later[1] - each[1]) / (later[0].tick - each[0].tick) for each, later in zip(seen, seen[1:])]
    if min(rates) <= 0 or max(rates) > _LARGEST_RATIO * min(rates):
        return None
    (first, first_nodes), (last, last_nodes) = seen[0], seen[-1]
    nodes_per_tick = round((last_nodes - first_nodes) / (last.tick - first.tick))
    return Shell(counts[-1][pieces][0], nodes_per_tick, first, last)
