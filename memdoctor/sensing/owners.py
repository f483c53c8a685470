"""Searches the heap from the user's variables for those that hold given storages.

Forward, because every path then begins with a name, and because a few hundred objects are enough where asking
for referrers scans the whole heap once per level. Must be called with the user's frames on the stack.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from memdoctor.foundation.locations import shown_path
from memdoctor.foundation.looks import OwnerPath, Piece
from memdoctor.sensing.capacities import capacity_of
from memdoctor.sensing.edges import LEAVES, Step, edges, is_tensor
from memdoctor.sensing.graphs import GraphWalk
from memdoctor.sensing.hoards import LEAST_BYTES, Hoards
from memdoctor.sensing.roots import Root
from memdoctor.sensing.user_code import class_file, is_library_detail

_CONTAINERS = frozenset({list, dict, tuple, set})
"""Most objects of a large heap; asking whether they are tensors is a tenth of a search."""
_MANY_ELEMENTS = 8
_MAX_DEPTH = 64
"""Deeper objects, as in a linked list, count as held by the one at this depth."""


@dataclass
class _Claim:
    """What one tensor was the first to reach."""

    storages: list[int] = field(default_factory=list)
    through_graph: bool = False
    has_grad_fn: bool = False
    is_scalar: bool = False
    graph_nodes: int = 0
    oldest_node: int | None = None
    view_bytes: int | None = None
    also_held_by: str = ""
    host_bytes: int = 0


class OwnerSearch:
    """One breadth-first search; each storage belongs to the first root that reaches it.

    It holds what it has visited until it dies, so that no `id` is reused meanwhile: drop it at once.
    """

    def __init__(
        self,
        birth_of: Callable[[torch.Tensor, torch.UntypedStorage], int | None],
        *,
        max_objects: int,
        reads_graphs: bool = True,
        hoards: Hoards | None = None,
    ) -> None:
        """`birth_of` is asked for every tensor: the number of its storage, or None if it is not wanted.

        `hoards` counts memory of the host for those who hold it.
        Without `reads_graphs` neither graphs nor gradients are touched, which a thread in backward may be freeing.
        """
        self._birth_of = birth_of
        self._max_objects = max_objects
        self._reads_graphs = reads_graphs
        self._hoards = hoards
        self._graphs = GraphWalk()
        self._seen: set[int] = set()
        self._objects: list[object] = []
        self._parents = array("q")
        self._steps: list[Step] = []
        self._depths = array("B")
        self._roots: dict[int, Root] = {}
        self._root: Root | None = None
        self._claims: dict[int, _Claim] = {}
        self._claimed: dict[int, tuple[Root, _Claim]] = {}
        self._capacities: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        """False if a budget ended the search."""
        return self._reads_graphs and len(self._objects) < self._max_objects and self._graphs.complete

    @property
    def seen(self) -> Collection[int]:
        """The `id` of every object that was visited."""
        return self._seen

    @property
    def claimed(self) -> Collection[int]:
        """Births that some root has reached."""
        return self._claimed.keys()

    def search(self, roots: Iterable[Root]) -> None:
        """Let each root claim what it reaches and nobody has claimed before."""
        for root in roots:
            first = len(self._objects)
            self._root = self._roots[first] = root
            self._visit(root.value, -1, (root.piece.kind, root.piece.text))
            while first < len(self._objects):
                self._expand(first)
                first += 1

    def paths(self, is_old: Callable[[int], bool]) -> tuple[OwnerPath, ...]:
        """All tensors that hold something wanted or a graph; `is_old` tells the storage keys of early parameters.

        After them objects that hold much memory of the host.
        """
        paths = [self._path(index, claim, is_old) for index, claim in self._claims.items()]
        shells = (path for path in paths if not path.storages)
        holders = self._hoards.largest() if self._hoards is not None else ()
        hoards = _without_indices(self._path(index, _Claim(host_bytes=nbytes), is_old) for index, nbytes in holders)
        large = (path for path in hoards if path.host_bytes >= LEAST_BYTES)
        return (*(path for path in paths if path.storages), *_without_indices(shells), *large)

    def _visit(self, value: object, parent: int, step: Step) -> None:
        if type(value) in LEAVES:
            return
        key = id(value)
        if key in self._seen:
            self._meet_again(value)
            return
        if len(self._objects) >= self._max_objects:
            return
        depth = 0 if parent < 0 else self._depths[parent] + 1
        if depth > _MAX_DEPTH:
            parent, step, depth = self._parents[parent], self._steps[parent], depth - 1
        self._seen.add(key)
        self._objects.append(value)
        self._parents.append(parent)
        self._steps.append(step)
        self._depths.append(depth)

    def _expand(self, index: int) -> None:
        value = self._objects[index]
        if type(value) not in _CONTAINERS:
            self._expand_leaf(index, value)
        for step, child in edges(value, self._max_objects - len(self._objects)):
            self._visit(child, index, step)

    def _expand_leaf(self, index: int, value: object) -> None:
        with contextlib.suppress(RuntimeError):  # asking a view whose base was changed in place for its graph
            if is_tensor(value):
                self._expand_tensor(index, value)
            if self._hoards is not None:
                self._hoards.meet(value, index if self._parents[index] < 0 else self._parents[index])

    def _expand_tensor(self, index: int, tensor: torch.Tensor) -> None:
        claim = _Claim(has_grad_fn=tensor.grad_fn is not None, is_scalar=tensor.numel() == 1)
        self._claim_storage(tensor, claim, through_graph=False)
        if self._reads_graphs:
            self._follow_autograd(index, tensor, claim)
        if tensor._base is not None:
            self._visit(tensor._base, index, ("inside", "base"))
        if claim.storages or claim.graph_nodes:
            self._claims[index] = claim

    def _follow_autograd(self, index: int, tensor: torch.Tensor, claim: _Claim) -> None:
        if tensor.grad_fn is not None:
            held = self._graphs.walk(tensor.grad_fn)
            claim.graph_nodes, claim.oldest_node = held.nodes, held.oldest
            for each in held.objects:
                self._graph_object(each, index, claim)
        elif tensor.is_leaf and tensor.grad is not None:
            self._visit(tensor.grad, index, ("grad", "grad"))

    def _graph_object(self, value: object, index: int, claim: _Claim) -> None:
        """A saved tensor is no variable: it adds to the claim of the tensor whose graph it is in."""
        if not is_tensor(value):
            self._visit(value, index, ("inside", "graph"))
            return
        self._claim_storage(value, claim, through_graph=True)
        if value.is_leaf and value.grad is not None and value.grad.grad_fn is not None:
            self._visit(value, index, ("inside", "graph"))

    def _claim_storage(self, tensor: torch.Tensor, claim: _Claim, *, through_graph: bool) -> None:
        storage = _storage(tensor)
        birth = self._birth_of(tensor, storage) if storage is not None else None
        if storage is None or birth is None or self._root is None:
            return
        if birth in self._claimed:
            if not through_graph:
                self._note_second_holder(birth)
            return
        self._claimed[birth] = (self._root, claim)
        claim.storages.append(birth)
        claim.through_graph |= through_graph
        shown_bytes = tensor.numel() * tensor.element_size()
        if not through_graph and shown_bytes < storage.nbytes():
            claim.view_bytes = shown_bytes

    def _meet_again(self, value: object) -> None:
        if is_tensor(value):
            storage = _storage(value)
            birth = self._birth_of(value, storage) if storage is not None else None
            if birth in self._claimed:
                self._note_second_holder(birth)

    def _note_second_holder(self, birth: int) -> None:
        first, claim = self._claimed[birth]
        if self._root is not None and self._root is not first and self._root.carried:
            claim.also_held_by = claim.also_held_by or self._root.piece.text

    def _path(self, index: int, claim: _Claim, is_old: Callable[[int], bool]) -> OwnerPath:
        chain = [index]
        while self._parents[chain[-1]] >= 0:
            chain.append(self._parents[chain[-1]])
        chain.reverse()
        root = self._roots[chain[0]]
        steps = [self._piece(each, is_old) for each in chain[1:]]
        return OwnerPath(
            pieces=(self._with_capacity(root.piece, chain[0]), *steps),
            storages=tuple(claim.storages),
            through_graph=claim.through_graph,
            has_grad_fn=claim.has_grad_fn,
            is_scalar=claim.is_scalar,
            graph_nodes=claim.graph_nodes,
            oldest_node=claim.oldest_node,
            view_bytes=claim.view_bytes,
            carried=root.carried,
            also_held_by=claim.also_held_by,
            host_bytes=claim.host_bytes,
        )

    def _piece(self, index: int, is_old: Callable[[int], bool]) -> Piece:
        kind, text = self._steps[index]
        owner = self._objects[self._parents[index]]
        if kind == "moment":
            return Piece("moment" if is_old(int(text)) else "key", "*")
        return self._with_capacity(_described(kind, text, owner), index)

    def _with_capacity(self, piece: Piece, index: int) -> Piece:
        if index not in self._capacities:
            parent = self._parents[index]
            self._capacities[index] = capacity_of(self._objects[index], self._objects[parent] if parent >= 0 else None)
        return replace(piece, capacity=self._capacities[index])


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """None for tensors without one: sparse, or wrappers of another framework."""
    try:
        return tensor.untyped_storage()
    except (RuntimeError, NotImplementedError):
        return None


def _without_indices(shells: Iterable[OwnerPath]) -> Iterable[OwnerPath]:
    """One path for all elements of a container that has many; a fixed list of two callbacks has few."""
    paths = list(shells)
    elements: dict[tuple[Piece, ...], set[Piece]] = {}
    for path in paths:
        for at, piece in enumerate(path.pieces):
            if piece.kind == "index":
                elements.setdefault(path.pieces[:at], set()).add(piece)
    merged: dict[tuple[Piece, ...], OwnerPath] = {}
    for path in paths:
        pieces = tuple(
            replace(piece, text="*") if len(elements.get(path.pieces[:at], ())) >= _MANY_ELEMENTS else piece
            for at, piece in enumerate(path.pieces)
        )
        known = merged.get(pieces)
        merged[pieces] = path.joined(known, pieces) if known is not None else replace(path, pieces=pieces)
    return merged.values()


def _described(kind: str, text: str, owner: Any) -> Piece:
    """The step with where the class or function that names it is defined, if it is the user's."""
    if kind in ("cell", "default", "cached", "local"):
        code = owner.__code__ if kind == "cell" else _code(owner)
        name = str(getattr(code, "co_qualname", getattr(owner, "__qualname__", code.co_name)))
        return Piece(kind, text, name, shown_path(code.co_filename), code.co_firstlineno)
    if kind in ("attr", "module"):
        owner_class = owner if isinstance(owner, type) else type(owner)
        file = class_file(owner_class)
        if is_library_detail(owner_class):
            return Piece("inside", owner_class.__qualname__)
        return Piece(kind, text, owner_class.__qualname__, shown_path(file) if file else None)
    return Piece(kind, text or type(owner).__qualname__)


def _code(owner: Any) -> CodeType:
    """Of a function, what wraps one (a cache, `partial`), a frame, a generator or a coroutine."""
    function = inspect.unwrap(getattr(owner, "func", owner))
    function = getattr(function, "__func__", function)
    names = ("__code__", "f_code", "gi_code", "cr_code", "ag_code")
    code: CodeType = next(getattr(function, name) for name in names if hasattr(function, name))
    return code


@contextmanager
def undisturbed() -> Iterator[None]:
    """No collection, no mode and no `__torch_function__` of the user's: looking must not run his code."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            yield
    finally:
        if collects:
            gc.enable()
