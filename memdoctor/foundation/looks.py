"""What a look at the heap brings back, and what looks together say about growth.

Plain strings and numbers only; a look never keeps a tensor, a node, a frame or anybody's locals alive. Looks are
written to the recording, so that grouping, naming and lines can be tested, and done again later, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from memdoctor.foundation.findings import Confidence


UNLIMITED = -1


@dataclass(frozen=True)
class Piece:
    """One step of a path from a root to an object."""

    kind: str
    """How the step is taken.

    Roots: `local`, `global`, `contextvar`, `registry` (Python or PyTorch keeps the object), `instance` (only a running
    statement holds it), `cycle` (only C++ does). Steps: `attr`, `module` (a child, parameter or buffer of an
    `nn.Module`), `key`, `index`, `cell`, `default`, `cached` (results of an `lru_cache`), `grad` (of a leaf), `moment`
    (optimizer state of a parameter that is older than the first steps), `inside` (held by an object that does not say
    under which name).
    """
    text: str
    """The name, or the `repr` of a constant key; `*` for a key that is no string or number.

    For `inside` the type of the object: the same one several times in a path is a chain.
    """
    scope: str = ""
    """The qualified name of the class that has the attribute, or of the function that has the variable."""
    file: str | None = None
    """Where that class or function is defined, if it is the user's."""
    line: int | None = None
    """First line of the function; 0 for the module itself."""
    capacity: int = field(default=0, compare=False)
    """Most elements of the container that the step leads to; 0 where nobody says. It does not tell steps apart.

    `UNLIMITED` where a limit is asked for and none is set: `maxsize=None`.
    """


@dataclass(frozen=True)
class OwnerPath:
    """One tensor that a root reaches, and the storages that are alive because of it.

    Tensors that hold nothing but graph nodes share one path, with `*` for every index; so do objects that hold memory
    of the host.
    """

    pieces: tuple[Piece, ...]
    storages: tuple[int, ...]
    """Births (see `Survivor.birth`) that this path reached first."""
    through_graph: bool
    """True if some of them were reached through the tensor's autograd graph: they are saved for a backward."""
    has_grad_fn: bool = False
    """True if the tensor that holds them has a `grad_fn`, whatever backward has freed."""
    is_scalar: bool = False
    """True if the tensor that holds them has one element: a loss, a metric."""
    graph_nodes: int = 0
    """Autograd nodes that this path reached first."""
    oldest_node: int | None = None
    """Autograd's number of the oldest of them: it stays where a graph gets longer, and moves where it is made anew."""
    view_bytes: int | None = None
    """What the tensor itself shows of its storage, where that is less than the storage."""
    carried: bool = True
    """False for a variable that each iteration writes before it reads: it holds nothing for longer."""
    also_held_by: str = ""
    """Another root variable that reaches the same storage."""
    host_bytes: int = 0
    """Memory of the host that arrays and tensors right in this object take; its storages and nodes are none then."""

    def joined(self, other: OwnerPath, pieces: tuple[Piece, ...]) -> OwnerPath:
        """The nodes, or the memory of the host, of both under one name."""
        oldest = [each.oldest_node for each in (self, other) if each.oldest_node is not None]
        nodes = self.graph_nodes + other.graph_nodes
        return replace(
            self, pieces=pieces, graph_nodes=nodes, oldest_node=min(oldest, default=None),
            host_bytes=self.host_bytes + other.host_bytes,
        )


@dataclass(frozen=True)
class Survivor:
    """A device storage that is alive at a look."""

    birth: int
    """Its number among all allocations of the run, unique and rising."""
    born_tick: int
    """The iteration in which it was allocated, counted in the unit of the look."""
    born_step: int
    """The same, as the step number that the user sees."""
    nbytes: int
    block_bytes: int
    """Rounded up as the caching allocator does."""


@dataclass(frozen=True)
class Look:
    """One graph-and-heap search for the holders of the survivors."""

    tick: int
    """Iterations of this unit before the look."""
    step: int
    unit: str
    survivors: tuple[Survivor, ...]
    """Storages that outlived their iteration; the youngest of them where there are very many."""
    newest: tuple[Survivor, ...]
    """The largest storages of the last two iterations, among which a tensor that is replaced by a larger one shows."""
    paths: tuple[OwnerPath, ...]
    died: tuple[int, ...]
    """Births of survivors of the previous look that are gone."""
    live_bytes: int
    """All device storages alive at this step, in blocks."""
    host_bytes: int
    """Heap of the process, see `sensing.host`."""
    files: tuple[str, ...] = ()
    """The user's source files that were loaded."""
    evaluates: bool = False
    """True for model calls of a program that does not train meanwhile: what a sampler or a validation gathers."""
    exact_births: bool = True
    """False if storages were met by a census, at or after the iteration that made them."""
    survivors_cut: bool = False
    """True if there were survivors older than those that are listed."""
    complete: bool = True
    """False if the search stopped at its budget: what it claims is a lower bound."""


@dataclass(frozen=True)
class Rise:
    """Bytes that the card has gained for a good reason, and keeps."""

    step: int
    """The iteration at whose end they were first seen."""
    cause: str
    """`parameters`, `gradients`, `optimizer state`, or what is a copy of which model."""
    gained_bytes: int


GRAPHS = "autograd graphs"
"""What is `Skipped` if they could not be read: what only a graph keeps alive then has no name."""
LEAKS = ("leak", "host-leak")
"""Verdicts that say that memory is lost with each iteration."""


@dataclass(frozen=True)
class Growth:
    """Whether a run keeps more and more memory."""

    verdict: str
    """`leak`, `host-leak`, `plateau`, `worst-batch` or `none`."""
    explanation: str
    """One sentence for the user."""
    confidence: Confidence
    bytes_per_step: int = 0
    """Device bytes, over all holders. Measured."""
    since_step: int | None = None
    """The first iteration whose tensors are still alive."""
    full_at_step: int | None = None
    """When the card would be full; None where it does not grow or has no known size."""
    unexplained_bytes_per_step: int = 0
    """Growth of survivors that no name reaches. Measured."""
    unit: str = "step"
    expected: tuple[Rise, ...] = ()
    """What the run has gained that is no leak, in the order of its iterations. Measured."""
