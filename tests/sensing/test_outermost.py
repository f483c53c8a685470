"""Where the call of a whole model begins and ends, and that the modules within it are left alone."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_hooks

from memdoctor.sensing.outermost import OutermostCalls

Seen = list[tuple[str, str]]


class Calling(nn.Module):
    """A model whose forward does whatever a test wants."""

    def __init__(self, work: Callable[[Any], object]) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.work = work

    def forward(self, x: Any) -> Any:
        self.work(x)
        return self.inner(torch.ones(2))


def watching() -> tuple[OutermostCalls, Seen]:
    seen: Seen = []
    calls = OutermostCalls(
        lambda module, args: seen.append(("begins", type(module).__name__)),
        lambda module, output: seen.append(("raised" if output is None else "ended", type(module).__name__)),
    )
    return calls, seen


def test_while_a_model_runs_its_modules_have_no_hook_to_pay_for() -> None:
    hooks: list[int] = []
    calls, seen = watching()
    with calls:
        model = Calling(lambda x: hooks.append(len(module_hooks._global_forward_pre_hooks)))
        for _ in range(2):
            model(None)
        assert not model._forward_hooks and not model._forward_hooks_always_called
        nn.ReLU()(torch.ones(1))
    assert hooks == [0, 0]
    assert seen == [("begins", "Calling"), ("ended", "Calling")] * 2 + [("begins", "ReLU"), ("ended", "ReLU")]


def test_a_model_that_calls_itself_is_one_call() -> None:
    calls, seen = watching()
    with calls:
        model = Calling(lambda depth: model(depth - 1) if depth else None)
        model(3)
    assert seen == [("begins", "Calling"), ("ended", "Calling")]


def test_a_call_that_raises_has_ended_and_leaves_nothing() -> None:
    calls, seen = watching()
    with calls:
        model = Calling(lambda divisor: 1 / divisor)
        for divisor in (0, 1, 0):
            try:
                model(divisor)
            except ZeroDivisionError as error:
                assert error.__context__ is None
    assert [kind for kind, _ in seen] == ["begins", "raised", "begins", "ended", "begins", "raised"]
    assert not model._forward_hooks and not model._forward_hooks_always_called


def interrupt(x: object) -> None:
    raise KeyboardInterrupt


def test_a_call_that_ctrl_c_has_left_is_over_when_the_program_says_so() -> None:
    calls, seen = watching()
    with calls:
        model = Calling(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(None)
        threading.Thread(target=calls.recover).start()  # another thread cannot know
        nn.ReLU()(torch.ones(1))
        calls.recover()
        nn.ReLU()(torch.ones(1))
    assert seen == [("begins", "Calling"), ("begins", "ReLU"), ("ended", "ReLU")]
    assert not model._forward_hooks


def test_another_threads_call_of_the_same_model_ends_nothing() -> None:
    def work(is_first: bool) -> None:
        if is_first:
            thread = threading.Thread(target=model, args=(False,))
            thread.start()
            thread.join()

    calls, seen = watching()
    model = Calling(work)
    with calls:
        model(True)
    assert seen == [("begins", "Calling"), ("ended", "Calling")]


class Copying(nn.Module):
    """Returns a copy that was made of it while it ran."""

    def forward(self, copied: Callable[[Any], Any]) -> Any:
        return copied(self)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copied", "saved"]
)
def test_a_model_that_copies_itself_while_it_runs_takes_nothing_along(copied: Callable[[Any], Any]) -> None:
    calls, seen = watching()
    with calls:
        made = Copying()(copied)
        assert b"memdoctor" not in pickle.dumps(made)
        made(copied)
    assert seen == [("begins", "Copying"), ("ended", "Copying")] * 2


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # the program's own way
def test_a_scripted_model_is_seen_as_any_other() -> None:
    calls, seen = watching()
    with calls:
        torch.jit.script(nn.Sequential(nn.Linear(2, 2)))(torch.ones(2))
    assert [kind for kind, _ in seen] == ["begins", "ended"]


def test_a_watch_that_ends_within_a_call_leaves_nothing() -> None:
    calls, seen = watching()
    model = Calling(lambda x: calls.__exit__(None, None, None))
    calls.__enter__()
    model(None)
    assert seen == [("begins", "Calling")] and not model._forward_hooks


@pytest.mark.filterwarnings("ignore:Using `torch.compile")  # the recorder sees to that
@pytest.mark.parametrize("in_place", [False, True], ids=["compiled", "compiled in place"])
def test_watching_makes_no_compilation_necessary_at_each_call(in_place: bool) -> None:
    """Compiled code asks for global hooks before it runs: they may not look different each time."""
    compiled: list[object] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model: Any = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    if in_place:
        model.compile(backend=backend)
    else:
        model = torch.compile(model, backend=backend)
    model(torch.ones(2))
    calls, seen = watching()
    with calls:
        for _ in range(6):
            nn.MSELoss()(model(torch.ones(2)), torch.ones(2))
    model(torch.ones(2))
    assert len(compiled) <= (2 if in_place else 1)
