"""What a look at the heap brings back: which storages survived, and the paths that lead to them.

Plain strings and numbers only; a look never keeps a tensor, a node, a frame or anybody's locals alive. Looks are
written to the recording, so that grouping, naming and lines can be tested, and done again later, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """One step of a path from a root to an object."""

    kind: str
    """`local`, `global`, `attr`, `key`, `index`, `cell`, `default`, `contextvar`, `inside`, `graph` or `cycle`."""
    text: str
    """The name, or the `repr` of a constant key."""
    owner_type: str | None = None
    """For an attribute: the class of the object that has it."""
    file: str | None = None
    """Where the frame, function or class of this step is defined."""
    line: int | None = None


@dataclass(frozen=True)
class OwnerPath:
    """How one storage is reached."""

    storage: int
    """The key of the storage within its look."""
    pieces: tuple[Piece, ...]
    through_graph: bool
    """True if the path enters an autograd graph: what is held is saved for backward."""
    has_grad_fn: bool = False
    """True if the tensor that holds it has a `grad_fn`, whatever backward has freed."""


@dataclass(frozen=True)
class Survivor:
    """A device storage that outlived the iteration in which it was allocated."""

    storage: int
    born_step: int
    nbytes: int
    block_bytes: int
    """Rounded up as the caching allocator does."""


@dataclass(frozen=True)
class GraphSummary:
    """A walk of one autograd graph."""

    nodes: int
    freed_nodes: int
    """Nodes whose saved tensors backward has released."""
    storages: dict[int, int]
    """Storage key to bytes that the graph still keeps."""
    complete: bool
    """False if the walk stopped at its budget: the figures are lower bounds."""


@dataclass(frozen=True)
class Look:
    """One graph-and-heap search for the holders of the survivors."""

    step: int
    unit: str
    survivors: tuple[Survivor, ...]
    paths: tuple[OwnerPath, ...]
    live_bytes: int
    """All device storages alive at this step, in blocks."""
    unclaimed_bytes: int = 0
    """Survivors that no named root reaches: held by C++ or by a library."""
