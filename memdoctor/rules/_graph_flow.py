"""What happens to tensors in one scope: what is kept, what is backwarded, which forwards run.

`_statements.walk` goes through the statements in order with a table from paths to values, joins the branches of an
`if`, and at the head of a loop puts a value that stands for "before the loop, or from the last iteration". Whether
something piles up is then a question of reachability: does the accumulator of one iteration reach that of the next?
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property

from memdoctor.rules._arguments import says
from memdoctor.rules._loops import Loop
from memdoctor.rules._modes import Mode
from memdoctor.rules._names import shown
from memdoctor.rules._scopes import Scope
from memdoctor.rules._torch_names import is_loss_like
from memdoctor.rules._values import Kind, Role, State, States, Value, ancestors, history, proven_by


@dataclass(eq=False)
class Keep:
    """Something was added to an accumulator: a sum or a container."""

    node: ast.stmt | ast.expr
    path: str
    """Where the accumulator is: `total`, `stats['loss']`, `self.history`."""
    holder: ast.AST
    """The same, as an expression."""
    terms: list[ast.expr]
    """The expressions that are added."""
    item: Value
    value: Value
    """The accumulator afterwards; kind KEEP."""
    loops: tuple[Loop, ...]
    is_sum: bool

    @property
    def added(self) -> ast.expr:
        """The first of what is added, to be named."""
        return self.terms[0]

    @property
    def name(self) -> str:
        """The accumulator as its author wrote it."""
        return shown(self.holder)


@dataclass(eq=False)
class Forward:
    """A call of a model."""

    node: ast.Call
    path: str
    """What is called, as a path."""
    value: Value
    loops: tuple[Loop, ...]
    grad_off: bool
    mode: Mode | None
    """What was set before: of this model, or of another one if its own is not known."""

    @property
    def evaluates(self) -> bool | None:
        """True after `.eval()`, False after `.train()`, None if neither was called before."""
        return self.mode.evaluates if self.mode is not None else None

    @property
    def was_set_to_evaluate(self) -> bool:
        """That call was on the very model."""
        return self.mode is not None and self.mode.evaluates and self.path.startswith(self.mode.model)


@dataclass(eq=False)
class Backward:
    """A call that differentiates something: `backward`, or `autograd.grad`."""

    node: ast.Call
    operand: Value
    loops: tuple[Loop, ...]

    @property
    def retains_graph(self) -> bool:
        """It leaves the activations where they are, for one more backward."""
        return any(says(self.node, name, True) for name in ("retain_graph", "retain_variables", "create_graph"))


@dataclass(eq=False)
class LocalCall:
    """A call of a function of the same file."""

    node: ast.Call
    callee: Scope
    arguments: dict[str, Value]
    """By parameter name, where that is plain to see."""
    value: Value
    loops: tuple[Loop, ...]
    grad_off: bool
    trains: bool
    """The callee runs a backward."""
    mode: Mode | None
    """The last that was set before."""


@dataclass(eq=False)
class Flow:
    """The events of one scope, in order, and questions about them."""

    scope: Scope
    keeps: list[Keep] = field(default_factory=list)
    backwards: list[Backward] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    calls: list[LocalCall] = field(default_factory=list)
    returns: list[Value] = field(default_factory=list)
    read_as_arrays: list[Value] = field(default_factory=list)
    """What `.numpy()` is called on: with a graph that raises."""
    siblings: list[list[tuple[str, Value]]] = field(default_factory=list)
    """Names and values of each tuple assignment from a call."""
    heads: dict[tuple[Loop, str], Value] = field(default_factory=dict)
    """What a path stands for at the head of a loop."""
    capped: set[str] = field(default_factory=set)
    """Containers that are emptied or limited: `deque(maxlen=...)`, `pop`."""

    @cached_property
    def operands(self) -> set[Value]:
        """What `backward` is called on."""
        return {backward.operand for backward in self.backwards}

    @cached_property
    def proven(self) -> set[Value]:
        """What has a graph because a backward ran.

        Operands, what they are computed from alone, losses that are part of them, and loss-like siblings in one tuple.
        """
        proven = {value for operand in self.operands for value in proven_by(operand)}
        proven |= {value for value in self.backwarded if value.role is Role.LOSS and _has_live_input(value)}
        for group in self.siblings:
            if any(value in proven for _, value in group):
                proven |= {value for name, value in group if is_loss_like(name) and value.kind is not Kind.CUT}
        return proven

    @property
    def runs_backward(self) -> bool:
        """There is a backward call in this scope."""
        return bool(self.backwards)

    @cached_property
    def backwarded(self) -> set[Value]:
        """Everything that a backward reaches: wanted, whatever it is kept in."""
        return ancestors(self.operands)

    @cached_property
    def _freed(self) -> set[Value]:
        return ancestors(backward.operand for backward in self.backwards if not backward.retains_graph)

    def is_retained(self, value: Value) -> bool:
        """Of a graph that it is made of, only backwards that retain it have run: the activations are still there."""
        made_of = ancestors([value])
        begins = {part for part in made_of if part.kind is Kind.SOURCE} or made_of & self.proven
        return any(part.retained_inside or part in self.backwarded for part in begins - self._freed)

    def is_backwarded(self, forward: Forward) -> bool:
        """A backward reaches it, in its own iteration where both are in one loop: the next iteration makes another."""
        return any(forward.value in self._behind(backward, forward.loops) for backward in self.backwards)

    def _behind(self, backward: Backward, loops: tuple[Loop, ...]) -> set[Value]:
        shared = {loop for loop in backward.loops if loop in loops}
        heads = frozenset(head for (loop, _), head in self.heads.items() if loop in shared)
        return ancestors([backward.operand], stop=heads)

    @cached_property
    def _states(self) -> States:
        return States(self.proven)

    @cached_property
    def _states_of_graph_arguments(self) -> States:
        return States(self.proven | {value for value in self._everything() if value.kind is Kind.OUTSIDE})

    def _everything(self) -> set[Value]:
        return ancestors([*self.returns, *(keep.value for keep in self.keeps)])

    def state(self, value: Value) -> State:
        """Does the value carry a graph?"""
        return self._states.of(value)

    def state_given_graph_arguments(self, value: Value) -> State:
        """Would it, if all that comes in from outside did?"""
        return self._states_of_graph_arguments.of(value)

    def outlived_loops(self, keep: Keep) -> list[Loop]:
        """Loops over whose iterations the accumulator grows, outermost first: not reset in their body."""
        return [loop for loop in keep.loops if self._outlives(keep, loop)]

    def _outlives(self, keep: Keep, loop: Loop) -> bool:
        if loop.node is keep.node:  # a comprehension
            return True
        head = self.heads.get((loop, keep.path))
        if head is None or head not in history(keep.value.inputs[0]):
            return False
        return any(keep.value in history(back) for back in head.inputs[1:])

    def trains(self, loop: Loop) -> bool:
        """Each iteration runs a backward or an optimizer step, here or in a function of this file."""
        return loop.trains or any(call.trains and loop in call.loops for call in self.calls)

    def begins_outside(self, keep: Keep) -> bool:
        """The accumulator was there before this function ran: an attribute, a global or a parameter."""
        return any(value.kind is Kind.OUTSIDE for value in history(keep.value.inputs[0]))


def _has_live_input(value: Value) -> bool:
    return any(part.kind is not Kind.CUT for part in value.inputs)
