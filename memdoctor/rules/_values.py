"""What a piece of a program evaluates to, as far as autograd graphs go: a small graph of who is made of whom.

The walk of a scope (`_graph_flow`) builds values; whether one carries a graph is asked when the walk is over, because
the strongest evidence, a later `.backward()`, comes after the line that a rule is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from memdoctor.rules._loops import Loop
from memdoctor.rules._patience import check_time


CONSTANT = "constant"
"""The name of the value of a literal: as the start of a sum or a stand-in for None it says nothing against a graph."""


ARRAY = "array"
"""The name of the value of a call of numpy and the like: what is stored in it becomes a number."""


MADE_UP = "made up"
"""The name of the value of `torch.randn(...)` and the like, which no data went into."""


ON_DEVICE = "on device"
"""The name of the value of an output without graph that was not moved or reduced since the model returned it."""


class State(IntEnum):
    """Does it carry an autograd graph? Rules report only `YES`."""

    NO = 0
    MAYBE = 1
    YES = 2


class Kind(Enum):
    """How a value follows from its inputs."""

    CUT = "a number, or a tensor without graph"
    SOURCE = "a graph begins or is proven here: a forward, or a function that returns a graph"
    MIX = "has the graph of any input: arithmetic, containers, reductions"
    JOIN = "one of its inputs, by the branch taken: proven only if all are"
    LOOP = "at the head of a loop: the value before it, or the one of the last iteration"
    KEEP = "an accumulator after one more item: inputs are (accumulator, item)"
    OPAQUE = "unknown, though it may depend on its inputs"
    OUTSIDE = "came in from outside the scope: a parameter, attribute or global"


class Role(Enum):
    """What a tensor is to the training."""

    LOSS = "loss"
    OUTPUT = "output"
    NONE = "none"


@dataclass(eq=False)
class Value:
    """One node of the graph; compared by identity."""

    kind: Kind
    inputs: list[Value] = field(default_factory=list)
    loops: tuple[Loop, ...] = ()
    """The loops around the place where it was computed, outermost first."""
    name: str = ""
    """The path of an OUTSIDE value; the callee of a SOURCE."""
    role: Role = Role.NONE
    parts: dict[str, Value] = field(default_factory=dict)
    """Elements of a tuple, list or dictionary literal, by the text of their key."""
    from_summary: bool = False
    """True if another function of the file had to be read to know."""
    freed_inside: bool = False
    """That function ran the backward of what it returned."""
    retained_inside: bool = False
    """And retained its activations."""


def cut() -> Value:
    """A value without graph."""
    return Value(Kind.CUT)


def mix(inputs: Iterable[Value], loops: tuple[Loop, ...], role: Role = Role.NONE) -> Value:
    """Graph of any input; the only input itself if it is computed from one and has no role of its own."""
    return Value(Kind.MIX, list(inputs), loops, role=role)


def join(first: Value, second: Value) -> Value:
    """What a name holds after an if/else."""
    return first if first is second else Value(Kind.JOIN, [first, second], first.loops)


def ancestors(
    values: Iterable[Value], skip: frozenset[Kind] = frozenset(), stop: frozenset[Value] = frozenset()
) -> set[Value]:
    """The values and all that they are made of; kinds in `skip` and values in `stop` are not entered."""
    check_time()
    seen: set[Value] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value not in seen:
            seen.add(value)
            if not (skip and value.kind in skip or value in stop):
                waiting += value.inputs
    return seen


def history(value: Value) -> set[Value]:
    """The earlier states of one accumulator or name: through loops, branches and additions, not into items."""
    check_time()
    seen: set[Value] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(_earlier(current))
    return seen


def _earlier(value: Value) -> Iterator[Value]:
    if value.kind in (Kind.LOOP, Kind.JOIN):
        yield from value.inputs
    elif value.kind is Kind.KEEP:
        yield value.inputs[0]


def proven_by(operand: Value) -> set[Value]:
    """What must carry a graph because `operand.backward()` ran: the operand, and inputs that are its only source."""
    proven: set[Value] = set()
    waiting = [operand]
    while waiting:
        value = waiting.pop()
        if value in proven or value.kind is Kind.CUT:
            continue
        proven.add(value)
        carriers = [part for part in value.inputs if part.kind is not Kind.CUT]
        if value.kind is Kind.MIX and len(carriers) == 1:
            waiting.extend(carriers)
    return proven


class States:
    """Answers whether values carry a graph, given those that are proven to; answers are remembered."""

    def __init__(self, proven: set[Value]) -> None:
        self._known: dict[Value, State] = {value: State.YES for value in proven}

    def of(self, value: Value) -> State:
        """The state of a value: the least that agrees with its inputs, so that a loop alone proves nothing."""
        if value not in self._known:
            self._settle([part for part in ancestors([value]) if part not in self._known])
        return self._known[value]

    def _settle(self, values: list[Value]) -> None:
        self._known.update(dict.fromkeys(values, State.NO))
        changed = True
        while changed:
            check_time()
            changed = False
            for value in values:
                state = self._from_inputs(value)
                if state > self._known[value]:
                    self._known[value], changed = state, True

    def _from_inputs(self, value: Value) -> State:
        if value.kind is Kind.CUT:
            return State.NO
        if value.kind is Kind.SOURCE:
            return State.YES
        if value.kind in (Kind.OPAQUE, Kind.OUTSIDE):
            return State.MAYBE
        inputs = [part for part in value.inputs if not (value.kind is Kind.JOIN and part.name == CONSTANT)]
        states = {self._known[part] for part in inputs} or {State.NO}
        if value.kind is Kind.JOIN and len(states) > 1:
            return State.MAYBE
        return max(states)
