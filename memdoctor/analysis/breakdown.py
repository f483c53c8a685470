"""Sums live storages by category, module, line and shape; the allocator's own part is named, so nothing is lost."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from memdoctor.foundation import breakdown as names
from memdoctor.foundation.breakdown import Birthmark, Breakdown, Holding, LineBytes, ModuleBytes, TensorBytes

_MOST = 20
"""Rows of each table that are kept: a recording stays small."""

_CATEGORIES = {
    names.FORWARD: names.ACTIVATIONS,
    names.BACKWARD: names.TEMPORARIES,
    names.OPTIMIZER_STEP: names.TEMPORARIES,
    names.MOVING: names.PARAMETERS,
}

_NUMBER = re.compile(r"\.\d+(?=\.|$)")

_Key = TypeVar("_Key")


def break_down(holdings: Sequence[Holding], allocated_bytes: int) -> Breakdown:
    """All that is allocated; what no holding accounts for are workspaces."""
    blocks_bytes = sum(holding.block_bytes for holding in holdings)
    sums = _sums(holdings, category)
    sums[names.ROUNDING] = blocks_bytes - sum(holding.nbytes for holding in holdings)
    sums[names.WORKSPACES] = allocated_bytes - blocks_bytes
    return Breakdown(allocated_bytes, _sorted(sums), _modules(holdings), _lines(holdings), _tensors(holdings))


def known_roles(role_bytes: dict[str, int], allocated_bytes: int) -> Breakdown:
    """What can be said of a card that does not show its storages: the rest is activations and other."""
    rest_bytes = allocated_bytes - sum(role_bytes.values())
    return Breakdown(allocated_bytes, _sorted(Counter({**role_bytes, names.ACTIVATIONS_AND_OTHER: rest_bytes})))


def category(holding: Holding) -> str:
    """By what names it now, else by where it was made."""
    return holding.role or _CATEGORIES.get(holding.mark.phase) or _outside(holding.mark)


def _outside(mark: Birthmark) -> str:
    if mark.followed:
        return names.ACTIVATIONS
    if mark.loaded:
        return names.LOADED
    return names.OTHER if mark.computed else names.INPUTS


def _sums(holdings: Sequence[Holding], key: Callable[[Holding], _Key]) -> Counter[_Key]:
    sums: Counter[_Key] = Counter()
    for holding in holdings:
        sums[key(holding)] += holding.nbytes
    return sums


def _sorted(sums: Counter[str]) -> dict[str, int]:
    return {name: nbytes for name, nbytes in sums.most_common() if nbytes}


def _module(holding: Holding) -> str:
    return holding.owner or holding.mark.module


def _modules(holdings: Sequence[Holding]) -> tuple[ModuleBytes, ...]:
    own = _sums(holdings, _module)
    totals = _cumulated(own)
    kept = [each for each in holdings if category(each) == names.ACTIVATIONS]
    activations, recomputed = _cumulated(_sums(kept, _module)), _recomputed(kept)
    return tuple(
        ModuleBytes(path, own[path], total_bytes, activations[path], recomputed[path])
        for path, total_bytes in sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:_MOST]
    )


def _cumulated(own: Counter[str]) -> Counter[str]:
    """Each path's bytes are also those of every module around it."""
    totals: Counter[str] = Counter()
    for path, nbytes in own.items():
        while path:
            totals[path] += nbytes
            path = path.rpartition(".")[0]
    return totals


def _recomputed(activations: Sequence[Holding]) -> Counter[str]:
    """By parent: what neither the inputs of all segments nor the one that is just recomputed take."""
    inside: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for holding in activations:
        path = _module(holding)
        while path:
            inside[path] += holding.nbytes
            largest[path] = max(largest[path], holding.nbytes)
            path = path.rpartition(".")[0]
    children: dict[str, list[int]] = defaultdict(list)
    for path, nbytes in inside.items():
        children[path.rpartition(".")[0]].append(nbytes)
    return Counter({parent: _saved(sizes, largest[parent]) for parent, sizes in children.items() if parent})


def _saved(children_bytes: Sequence[int], input_bytes: int) -> int:
    """By as many segments as is best; the input of the first is not inside, and no segment is less than a child."""
    kept_bytes = sum(children_bytes)
    return max(
        kept_bytes - (segments - 1) * input_bytes - max(kept_bytes // segments, *children_bytes, 0)
        for segments in range(1, len(children_bytes) + 1)
    )


def _lines(holdings: Sequence[Holding]) -> tuple[LineBytes, ...]:
    sums = _sums(holdings, lambda holding: holding.mark.location)
    return tuple(LineBytes(line, nbytes) for line, nbytes in sums.most_common(_MOST) if line is not None)


def _tensors(holdings: Sequence[Holding]) -> tuple[TensorBytes, ...]:
    """Alike but for the numbers in their modules' paths: the layers of a stack are one row."""
    alike: dict[tuple[object, ...], list[Holding]] = defaultdict(list)
    for holding in holdings:
        mark = holding.mark
        layer = _NUMBER.sub(".*", _module(holding))
        alike[mark.shape, mark.dtype, holding.nbytes, category(holding), layer, mark.location].append(holding)
    largest = sorted(alike.values(), key=lambda group: -group[0].nbytes * len(group))
    return tuple(_row(group) for group in largest[:_MOST])


def _row(alike: Sequence[Holding]) -> TensorBytes:
    first, modules = alike[0], {_module(holding) for holding in alike}
    module = _module(first) if len(modules) == 1 else _NUMBER.sub(".*", _module(first))
    mark = first.mark
    return TensorBytes(mark.shape, mark.dtype, first.nbytes, len(alike), category(first), module, mark.location)
