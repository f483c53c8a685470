"""Paths from a variable to a tensor, through every kind of object that programs keep tensors in."""

from __future__ import annotations

import collections
import functools
import gc
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from memdoctor.foundation.looks import OwnerPath, Piece
from memdoctor.sensing.frames import local_variables
from memdoctor.sensing.owners import OwnerSearch, undisturbed
from memdoctor.sensing.roots import Root, user_roots

Pair = collections.namedtuple("Pair", "first second")


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def show(self) -> object:
        return self.value

    @property
    def trap(self) -> object:
        raise AssertionError("a property of the user's was read")


def closure(value: object) -> Callable[[], object]:
    return lambda: value


def default(value: object) -> Callable[..., object]:
    def function(extra: int, kept: object = value) -> object:
        return kept

    return function


def thread_local(value: object) -> threading.local:
    result = threading.local()
    result.value = value
    return result


def started(value: object) -> Iterator[int]:
    def generate() -> Iterator[int]:
        kept = value
        yield 1
        del kept

    generator = generate()
    next(generator)
    return generator


def cached(value: object) -> Any:
    function = functools.lru_cache(lambda: value)
    function()
    return function


def raised(value: object) -> Exception:
    try:
        raise ValueError
    except ValueError as error:
        return error


def queued(value: object) -> queue.Queue[object]:
    result: queue.Queue[object] = queue.Queue()
    result.put(value)
    return result


def search(value: object, tensor: torch.Tensor) -> tuple[OwnerPath, ...]:
    wanted = {tensor.untyped_storage()._cdata: 7}
    owners = OwnerSearch(lambda _, storage: wanted.get(storage._cdata), max_objects=10_000)
    with undisturbed():
        owners.search([Root(Piece("global", "root"), value)])
    return owners.paths(lambda key: True)


@pytest.mark.parametrize(
    ("hold", "steps"),
    [
        pytest.param(lambda t: [t], ["index:0"], id="list"),
        pytest.param(lambda t: {"a": {3: t}}, ["key:'a'", "key:3"], id="dictionaries"),
        pytest.param(lambda t: {object(): t}, ["key:*"], id="a key that is no string"),
        pytest.param(lambda t: collections.deque([0, t]), ["index:1"], id="deque"),
        pytest.param(lambda t: {t}, ["key:*"], id="set"),
        pytest.param(lambda t: Pair(0, t), ["attr:second"], id="named tuple"),
        pytest.param(Plain, ["attr:value"], id="instance"),
        pytest.param(Slotted, ["attr:value"], id="slots"),
        pytest.param(lambda t: SimpleNamespace(value=t), ["attr:value"], id="namespace"),
        pytest.param(closure, ["cell:value"], id="closure"),
        pytest.param(thread_local, ["attr:value"], id="thread-local attribute"),
        pytest.param(default, ["default:kept"], id="default argument"),
        pytest.param(lambda t: functools.partial(closure, t), ["default:value"], id="partial"),
        pytest.param(lambda t: Plain(t).show, ["inside:method", "attr:value"], id="bound method"),
        pytest.param(started, ["local:kept"], id="suspended generator"),
        pytest.param(cached, ["cached:<lambda>"], id="lru_cache"),
        pytest.param(raised, ["inside:ValueError", "inside:traceback", "local:value"], id="exception"),
        pytest.param(queued, ["inside:Queue", "index:0"], id="queue"),
        pytest.param(lambda t: torch.nn.ParameterList([torch.nn.Parameter(t)]), ["module:0"], id="module"),
        pytest.param(weakref.ref, [], id="a weak reference holds nothing"),
    ],
)
def test_paths(hold: Callable[[torch.Tensor], object], steps: list[str]) -> None:
    tensor = torch.zeros(3)
    held = hold(tensor)
    found = [f"{piece.kind}:{piece.text}" for path in search(held, tensor) for piece in path.pieces[1:]]
    assert found == steps


def test_a_graph_adds_to_the_tensor_that_it_belongs_to() -> None:
    saved = torch.ones(5)
    loss = (torch.ones(5, requires_grad=True) * saved).sum()
    (path,) = search([loss], saved)
    assert (path.storages, path.through_graph, path.has_grad_fn, path.is_scalar) == ((7,), True, True, True)
    assert path.graph_nodes == 3


def test_a_view_says_how_little_it_shows() -> None:
    tensor = torch.zeros(100)
    (path,) = search([tensor[:2]], tensor)
    assert path.view_bytes == 8


def test_a_long_chain_is_cut_and_still_found() -> None:
    tensor = torch.zeros(1)
    chain: Any = tensor
    for _ in range(5_000):
        chain = Plain(chain)
    (path,) = search(chain, tensor)
    assert len(path.pieces) < 100


def test_the_first_root_has_it_and_the_second_is_mentioned() -> None:
    tensor = torch.zeros(3)
    wanted = {tensor.untyped_storage()._cdata: 7}
    owners = OwnerSearch(lambda _, storage: wanted.get(storage._cdata), max_objects=1_000)
    owners.search([Root(Piece("global", "first"), [tensor]), Root(Piece("global", "second"), (tensor,))])
    (path,) = owners.paths(lambda key: True)
    assert (path.pieces[0].text, path.also_held_by) == ("first", "second")


def test_a_search_leaves_nothing_behind() -> None:
    """The tensor dies with its last reference, without the collector."""
    tensor = torch.zeros(3)
    gone = weakref.ref(tensor)
    search({"kept": [tensor]}, tensor)
    gc.disable()
    try:
        del tensor
        assert gone() is None
    finally:
        gc.enable()


def test_reading_locals_keeps_no_deleted_variable_alive() -> None:
    value = Plain(0)
    gone = weakref.ref(value)
    assert ("value", value) in local_variables(sys._getframe())
    del value
    assert gone() is None


def test_roots_know_what_the_loop_carries() -> None:
    kept: list[object] = []
    for number in range(1):
        anew = [number]
        kept.append(anew)
        roots = {root.piece.text: root.carried for root in user_roots() if root.piece.kind == "local"}
    assert (roots["kept"], roots["anew"]) == (True, False)


def test_a_closure_is_that_of_the_wrapper_though_it_goes_by_the_name_of_what_it_wraps() -> None:
    tensor = torch.zeros(3)
    kept = [tensor]

    @functools.wraps(closure)
    def wrapper() -> object:
        return kept

    (path,) = search(wrapper, tensor)
    (cell,) = (piece for piece in path.pieces if piece.kind == "cell")
    assert (cell.text, cell.line) == ("kept", wrapper.__code__.co_firstlineno)


def test_of_a_librarys_frame_only_what_it_was_given_is_searched() -> None:
    """The last error of a session comes through frames that lead into all of a library."""
    source = "def call(value, own):\n    raise ValueError\n"
    library: dict[str, Any] = {}
    exec(compile(source, "/usr/lib/python3/dist-packages/library.py", "exec"), library)
    given, own = torch.zeros(3), torch.zeros(4)
    with pytest.raises(ValueError) as caught:
        library["call"]((given,), Plain(own))
    frame = caught.value.__traceback__.tb_next.tb_frame  # type: ignore[union-attr]  # it was raised one call deeper
    assert search(frame, given) != ()
    assert search(frame, own) == ()
