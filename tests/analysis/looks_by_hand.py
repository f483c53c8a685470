"""Looks as a run would bring them back, made of a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memdoctor.foundation.looks import Look, OwnerPath, Piece, Survivor

LIST = (Piece("local", "kept", "train", "train.py", 1),)


def element(holder: Sequence[Piece], index: int) -> tuple[Piece, ...]:
    return (*holder, Piece("index", str(index)))


def survivor(tick: int, nbytes: int = 512) -> Survivor:
    """One storage for each tick, whose birth is ten times the tick."""
    return Survivor(tick * 10, tick, tick, nbytes, -(-nbytes // 512) * 512)


def look(
    tick: int,
    held: Mapping[tuple[Piece, ...], Sequence[int]],
    *,
    died: Sequence[int] = (),
    nbytes: int = 512,
    evaluates: bool = False,
) -> Look:
    """`held` maps paths to the ticks whose storages they hold; `died` are ticks too."""
    return Look(
        tick=tick,
        step=tick,
        unit="model call" if evaluates else "optimizer step",
        survivors=tuple(survivor(each, nbytes) for ticks in held.values() for each in ticks),
        newest=(),
        paths=tuple(OwnerPath(pieces, tuple(each * 10 for each in ticks), False) for pieces, ticks in held.items()),
        died=tuple(each * 10 for each in died),
        live_bytes=0,
        host_bytes=0,
        evaluates=evaluates,
    )


def list_look(tick: int, ticks: Sequence[int], *, died: Sequence[int] = (), evaluates: bool = False) -> Look:
    """A list that holds one storage of each of these ticks."""
    held = {element(LIST, index): (each,) for index, each in enumerate(ticks)}
    return look(tick, held, died=died, evaluates=evaluates)
