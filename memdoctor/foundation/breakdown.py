"""Where the bytes of a card were at one moment, and the moment at which a card refused.

All figures are bytes that the program asked for; what the allocator adds to them has categories of its own, so that the
categories sum to the allocator's figure exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.locations import Location
from memdoctor.foundation.readings import ProcessReading

PARAMETERS = "parameters"
"""Weights and buffers of modules."""
GRADIENTS = "gradients"
"""`parameter.grad`."""
OPTIMIZER_STATE = "optimizer state"
ACTIVATIONS = "activations"
"""Made in a module's forward, or by an operator that autograd follows."""
INPUTS = "inputs and data"
"""Moved to the card, or made there from nothing, outside of modules: batches, targets, data sets, buffers."""
OTHER = "other tensors"
"""Computed outside of modules and not followed by autograd: metrics, targets, boxes."""
TEMPORARIES = "temporaries"
"""Made by backward or by an optimizer's step and not kept as a gradient or a state."""
WORKSPACES = "workspaces"
"""Blocks that no tensor owns: scratch of a running operator, workspaces of libraries."""
ROUNDING = "rounding of blocks"
"""What the allocator hands out beyond what was asked for."""
LOADED = "read from files"
"""Read by `torch.load` and no parameter or state of a model that is in use: a checkpoint."""
ACTIVATIONS_AND_OTHER = "activations and other"
"""The remainder on a card that does not show its storages."""

FORWARD = "forward"
BACKWARD = "backward"
OPTIMIZER_STEP = "optimizer step"
MOVING = "a module's construction or move"
OUTSIDE = "outside of modules"


@dataclass(frozen=True)
class Birthmark:
    """What was known of a storage when it was allocated."""

    phase: str = OUTSIDE
    """One of the five phases above."""
    module: str = ""
    """Path from the class of the outermost module, `Net.encoder.layers.3.mlp`; empty outside of modules.

    In backward, that of the forward operator whose gradient is computed; so is the line.
    """
    location: Location | None = None
    """The innermost line of the user's own code; None before memdoctor watched."""
    followed: bool = False
    """True for a forward operator that autograd records."""
    computed: bool = False
    """True if it is computed from other tensors of the card."""
    loaded: bool = False
    """True if no operator has made it: it was read from a file, or is scratch that was refused."""
    shape: tuple[int, ...] = ()
    dtype: str = ""


@dataclass(frozen=True)
class Holding:
    """One storage that is alive, with its role where something still names it."""

    nbytes: int
    block_bytes: int
    """What the allocator gave for it."""
    mark: Birthmark
    role: str = ""
    """`parameters`, `gradients` or `optimizer state`; empty for anything else."""
    owner: str = ""
    """Path of the module that a role belongs to."""


@dataclass(frozen=True)
class ModuleBytes:
    """A module of the tree with what belongs to it or was made in it."""

    path: str
    own_bytes: int
    """Without its children."""
    total_bytes: int
    activation_bytes: int
    """The part of the total that is activations."""
    recomputed_bytes: int = 0
    """Of them those that would be gone if its children were recomputed in backward, in as many segments as is best.

    Estimated: the largest tensor inside stands for the input that each segment but the first keeps.
    """


@dataclass(frozen=True)
class LineBytes:
    """What one line of the user's code allocated and is alive."""

    location: Location
    nbytes: int


@dataclass(frozen=True)
class TensorBytes:
    """Storages that are alike in all of this; the layers of a stack share `Net.layers.*.mlp`."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    """Of one of them."""
    count: int
    category: str
    module: str
    location: Location | None


@dataclass(frozen=True)
class Breakdown:
    """All that was allocated at one moment. Measured; simulated on a virtual card.

    Check by hand: the sum is `torch.cuda.max_memory_allocated()`, or at a crash `torch.cuda.memory_allocated()`.
    """

    allocated_bytes: int
    category_bytes: dict[str, int]
    """Largest first; sums to `allocated_bytes`."""
    modules: tuple[ModuleBytes, ...] = ()
    """The largest totals first."""
    lines: tuple[LineBytes, ...] = ()
    tensors: tuple[TensorBytes, ...] = ()


@dataclass(frozen=True)
class IterationBreakdown:
    """What was still allocated when one chosen iteration had ended.

    Check by hand: the sum is `torch.cuda.memory_allocated()` after it.
    """

    step: int
    breakdown: Breakdown


@dataclass(frozen=True)
class LocalTensor:
    """A tensor that a variable of the user's held: of the batch, or what a layer was about to compute with."""

    name: str
    function: str
    """The function whose variable it is; `<module>` for the script itself."""
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class CardLedger:
    """Where the bytes of a card are; sums to the total."""

    total_bytes: int
    tensors_bytes: int
    """`torch.cuda.memory_allocated()`."""
    cached_bytes: int
    """`torch.cuda.memory_reserved()` beyond that: free for this process's tensors alone."""
    context_bytes: int
    """The CUDA context and libraries; where `others_bytes` is None, other processes too."""
    others_bytes: int | None
    """Other processes; None where the driver does not tell."""
    free_bytes: int


@dataclass(frozen=True)
class Crash:
    """The moment at which the allocator refused, before anything was unwound."""

    request_bytes: int
    """What was asked for."""
    allocated_bytes: int
    reserved_bytes: int
    free_bytes: int
    """What the driver still had."""
    total_bytes: int
    """The whole card."""
    limit_bytes: int | None = None
    """What `set_per_process_memory_fraction` allows; None without it."""
    others_bytes: int = 0
    """What other processes hold of the card."""
    mark: Birthmark = Birthmark()
    """Of the tensor that was refused; shape and type are empty for scratch and on a real card."""
    call: Location | None = None
    """The user's line that was running: in backward another than where the gradient comes from."""
    gradients_in_evaluation: bool = False
    """True if a model in evaluation mode was running with gradients enabled."""
    breakdown: Breakdown | None = None
    """None where nothing could be seen."""
    retried_bytes: int = 0
    """What an earlier attempt has left alive, because its out-of-memory error is still being handled."""
    batch_bytes: int = 0
    """Of the tensors that the model was called with last; 0 where it got none by position."""
    largest_batch_bytes: int = 0
    """Of the largest such call before, of the same phase; 0 for the first."""
    tensors: tuple[LocalTensor, ...] = ()
    """The user's variables in the functions that were running, innermost first: shapes of the batch."""
    processes: tuple[ProcessReading, ...] = ()
    """The others on the card."""

    @property
    def ledger(self) -> CardLedger | None:
        """None where the error does not say how large the card is."""
        if not self.total_bytes:
            return None
        named_bytes = self.reserved_bytes + self.others_bytes + self.free_bytes
        return CardLedger(
            total_bytes=self.total_bytes,
            tensors_bytes=self.allocated_bytes,
            cached_bytes=self.stranded_bytes,
            context_bytes=max(0, self.total_bytes - named_bytes),
            others_bytes=self.others_bytes,
            free_bytes=self.free_bytes - max(0, named_bytes - self.total_bytes),  # sizes in texts are rounded
        )

    @property
    def stranded_bytes(self) -> int:
        """Held by PyTorch and free, but in no piece that was large enough."""
        return self.reserved_bytes - self.allocated_bytes


@dataclass(frozen=True)
class Refused:
    """A crash as it was recorded when the card refused; only what comes after says whether the program survived it."""

    crash: Crash
