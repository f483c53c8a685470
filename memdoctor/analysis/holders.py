"""From many paths to few holders: the last part of a path that does not change from one survivor to the next.

All paths of a look form a tree. It is cut where the children are elements that come one per iteration
(`history['val_loss'][*]`); where it is not cut, the tensor itself holds a chain (`hidden`).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from memdoctor.foundation.looks import Look, OwnerPath, Piece, Survivor

_ELEMENTS = ("key", "index")
_FEWEST_ELEMENTS = 3
_NUMBERED = ("attr", "module", "global")
_NUMBER = re.compile(r"\d+")
_REPEATS = 4
"""An edge that occurs this often in one path is a link: `node.next.next.next.next`, a chain of exceptions."""


@dataclass(frozen=True)
class Holder:
    """A variable, an attribute or a container, and what is alive because of it."""

    pieces: tuple[Piece, ...]
    """From the root to the holder itself."""
    paths: tuple[OwnerPath, ...]
    """The paths below it, whole."""
    is_container: bool
    """True if it gets new elements; false if it is one tensor."""

    @property
    def births(self) -> frozenset[int]:
        """What it keeps alive, the survivors of the look and perhaps others."""
        return frozenset(birth for path in self.paths for birth in path.storages)

    def is_on(self, pieces: Sequence[Piece]) -> bool:
        """True if the path leads through the holder, in this look or another."""
        end = len(self.pieces) - 1
        last = pieces[end:end + 1]
        return tuple(pieces[:end]) == self.pieces[:end] and self.pieces[end] in (*last, *map(_without_number, last))

    def held_at(self, look: Look) -> list[Survivor]:
        """What it kept alive at that look."""
        births = {birth for path in look.paths if self.is_on(path.pieces) for birth in path.storages}
        return [survivor for survivor in look.survivors if survivor.birth in births]


def holders(look: Look) -> Iterator[Holder]:
    """The holders of the survivors, in no particular order."""
    born = {survivor.birth: survivor.born_tick for survivor in look.survivors}
    paths = [path for path in look.paths if any(birth in born for birth in path.storages)]
    heads = {_before_links(path.pieces) for path in paths} - {path.pieces for path in paths}
    yield from _holders([(_up_to(heads, path.pieces), path) for path in paths], 0, born)


_Paths = Sequence[tuple[tuple[Piece, ...], OwnerPath]]


def _holders(paths: _Paths, depth: int, born: Mapping[int, int]) -> Iterator[Holder]:
    ending = [(pieces, path) for pieces, path in paths if len(pieces) == depth]
    if ending:
        yield _holder(ending, depth, is_container=False)
    children: dict[Piece, list[tuple[tuple[Piece, ...], OwnerPath]]] = {}
    for pieces, path in paths:
        if len(pieces) > depth:
            children.setdefault(pieces[depth], []).append((pieces, path))
    for name, numbered in _numbered(children).items():
        if _is_growing_container(numbered, born):
            pieces = (*paths[0][0][:depth], *([] if name.text == "*" else [name]))
            below = (path for piece in numbered for _, path in children.pop(replace(piece, kind=name.kind)))
            yield Holder(pieces, tuple(below), is_container=True)
    if _is_growing_container(children, born):
        yield _holder([path for child in children.values() for path in child], depth, is_container=True)
        return
    for child in children.values():
        yield from _holders(child, depth + 1, born)


def _numbered(children: Mapping[Piece, _Paths]) -> dict[Piece, dict[Piece, _Paths]]:
    """Names that differ in a number only, as elements: `activation_0`, `activation_1`, ...; layers of a list."""
    alike: dict[Piece, dict[Piece, _Paths]] = {}
    for piece, paths in children.items():
        name = _without_number(piece)
        if name != piece and not any(is_bounded(path.pieces) for _, path in paths):
            alike.setdefault(name, {})[replace(piece, kind="key")] = paths
    return alike


def is_bounded(pieces: Sequence[Piece]) -> bool:
    """State and gradients of early parameters are bounded by the model: layers unfrozen later get them late."""
    return any(piece.kind in ("moment", "grad") for piece in pieces)


def _without_number(piece: Piece) -> Piece:
    return replace(piece, text=_NUMBER.sub("*", piece.text)) if piece.kind in _NUMBERED else piece


def _holder(paths: _Paths, depth: int, *, is_container: bool) -> Holder:
    return Holder(paths[0][0][:depth], tuple(path for _, path in paths), is_container)


def _is_growing_container(children: Mapping[Piece, _Paths], born: Mapping[int, int]) -> bool:
    """Elements that come one after the other; a fixed list of two meters has few elements, of many births each."""
    if any(piece.kind in _ELEMENTS and piece.text == "*" for piece in children):
        return True
    if len(children) < _FEWEST_ELEMENTS or any(piece.kind not in _ELEMENTS for piece in children):
        return False
    ticks = [_ticks(paths, born) for paths in children.values()]
    births_each = statistics.median(len(each) for each in ticks)
    one_by_one = births_each <= 2 and len(set().union(*ticks)) >= 2 * births_each
    return one_by_one or _follow_each_other(ticks)


def _ticks(paths: _Paths, born: Mapping[int, int]) -> set[int]:
    return {born[birth] for _, path in paths for birth in path.storages if birth in born}


def _follow_each_other(ticks: Sequence[set[int]]) -> bool:
    """One list per epoch: each element is complete before the next begins."""
    spans = sorted((min(each), max(each)) for each in ticks)
    return all(earlier[1] <= later[0] for earlier, later in zip(spans, spans[1:]))


def _up_to(heads: set[tuple[Piece, ...]], pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The first links of a chain belong to its head too, though the path to them is short."""
    return next((pieces[:end] for end in range(1, len(pieces)) if pieces[:end] in heads), pieces)


def _before_links(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The variable that holds the head of a chain, without the chain; children of modules may share a name."""
    for position, piece in enumerate(pieces):
        if piece.kind != "module" and pieces.count(piece) >= _REPEATS:
            return pieces[:position]
    return pieces
