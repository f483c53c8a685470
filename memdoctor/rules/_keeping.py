"""When an accumulator piles up: shared by the rules about losses and about outputs that are kept with their graph."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memdoctor.rules._callers import callers_only_read
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._loops import Loop
from memdoctor.rules._names import identifiers, path_of, words
from memdoctor.rules._source import Source
from memdoctor.rules._summaries import role_of
from memdoctor.rules._values import Kind, Role, State, Value, ancestors

_HELD_OUT_WORDS = re.compile(r"val|valid\w*|test\w*|dev|eval\w*")
_EVALUATION_STEMS = (
    "valid", "eval", "test", "infer", "predict", "sampl", "generat", "detect", "demo", "visual", "scor", "translat",
    "accura", "perplex",
)
_EVALUATION_VERBS = frozenset(
    "test val valid validate eval evaluate evaluation infer inference predict prediction predictor sample generate"
    " detect demo visualize visualise score translate".split()
)
_TRAINING_STEMS = ("train", "generator", "fit")


def is_evaluation(name: str) -> bool:
    """The name of a function says that it evaluates, and not that it trains."""
    found = words(name)
    if any(word.startswith(_TRAINING_STEMS) for word in found):
        return False
    return bool(found & {"val", "act"}) or any(word.startswith(_EVALUATION_STEMS) for word in found)


def is_evaluation_script(stem: str) -> bool:
    """The same for the name of a file, where a noun is a task and not what it does: `translation.py` trains."""
    return is_evaluation(stem) and bool(words(stem) & _EVALUATION_VERBS)


def is_over_held_out_data(loop: Loop) -> bool:
    """It runs over a `val_loader` or `test_set`, by the name."""
    names = identifiers(loop.node.iter) if isinstance(loop.node, (ast.For, ast.AsyncFor)) else ()
    return loop.over_data and any(_HELD_OUT_WORDS.fullmatch(word) for name in names for word in words(name))


def carries_loss(flow: Flow, keep: Keep) -> bool:
    """A sum of anything with a graph, or a loss with its graph in a container."""
    return flow.state(keep.item) is State.YES and (keep.is_sum or role_of(flow, [keep.item]) is Role.LOSS)


def carries_output(flow: Flow, keep: Keep) -> bool:
    """The output of a model, with its graph, in a container."""
    return flow.state(keep.item) is State.YES and not keep.is_sum and role_of(flow, [keep.item]) is Role.OUTPUT


def growing_loops(source: Source, flow: Flow, keep: Keep) -> Iterator[Loop]:
    """The loops over data in which it grows by a graph made there, and that is not backwarded later."""
    if keep.path in flow.capped or keep.value in flow.backwarded or _is_handed_on(source, flow, keep):
        return
    for loop in flow.outlived_loops(keep):
        if flow.trains(loop) or (loop.over_data and has_fresh_forward(keep.item, loop)):
            yield loop


def _is_handed_on(source: Source, flow: Flow, keep: Keep) -> bool:
    """The caller gets it with its graph, and may train on it: no backward has run, and nothing says evaluation."""
    if has_had_backward(flow, keep.item) or _is_evaluated(flow, keep) or is_evaluation(flow.scope.name):
        return False
    given = ancestors(value for value in flow.returns if flow.state(value) is not State.NO)
    return keep.value in given and not callers_only_read(source, flow.scope)


def has_fresh_forward(item: Value, loop: Loop) -> bool:
    """A forward inside the loop is behind it."""
    return any(value.kind is Kind.SOURCE and loop in value.loops for value in ancestors([item]))


def is_freed(flow: Flow, item: Value) -> bool:
    """A backward has released the activations of its graph."""
    return has_had_backward(flow, item) and not flow.is_retained(item)


def has_had_backward(flow: Flow, item: Value) -> bool:
    """A backward has run on its graph, here or in the function that returned it."""
    begins = {value for value in ancestors([item]) if value.kind is Kind.SOURCE or value in flow.proven}
    return any(value.freed_inside or value in flow.backwarded for value in begins)


def needs_summary(item: Value) -> bool:
    """Another function of the file had to be read to know."""
    return any(value.from_summary for value in ancestors([item]))


def kept_outputs(source: Source, flow: Flow) -> Iterator[Keep]:
    """Outputs that a loop collects with their graph, in training or in an evaluation with gradients on."""
    if flow.scope.others_decide:
        return
    for keep in flow.keeps:
        loops = growing_loops(source, flow, keep) if carries_output(flow, keep) else ()
        if any(has_fresh_forward(keep.item, loop) for loop in loops):
            if has_had_backward(flow, keep.item) or _is_evaluated(flow, keep) or _is_collected(source, flow, keep):
                yield keep
            elif _is_of_trained_model(flow, keep) and not flow.begins_outside(keep):
                yield keep


def _is_collected(source: Source, flow: Flow, keep: Keep) -> bool:
    """The container is returned, and nothing in the file that calls the function trains on it."""
    is_returned = keep.value in ancestors(flow.returns)
    return is_returned and not flow.runs_backward and callers_only_read(source, flow.scope)


def _is_of_trained_model(flow: Flow, keep: Keep) -> bool:
    """The loop trains the model, and runs it once more only to keep what comes out: samples of a generator."""
    made_of = ancestors([keep.item])
    models = {path_of(forward.node.func) for forward in flow.forwards if forward.value in made_of}
    trained = {path_of(forward.node.func) for forward in flow.forwards if flow.is_backwarded(forward)}
    return bool(models) and models <= trained and keep.value not in ancestors(flow.returns)


def _is_evaluated(flow: Flow, keep: Keep) -> bool:
    made_of = ancestors([keep.item])
    modes = [forward.evaluates for forward in flow.forwards if forward.value in made_of]
    in_evaluation = bool(modes) and all(modes)
    by_name = is_evaluation(flow.scope.name) and False not in modes
    return not flow.runs_backward and (in_evaluation or by_name)
