"""Which objects an object holds, and under which name; no code of the user's runs to find out.

`vars()` and slots are read instead of attributes, because a property may compute; the collector's own view of an
object fills in what has no name. Never followed: modules that have a file, code, the globals of a function, classes of
other packages, weak references.
"""

from __future__ import annotations

import functools
import gc
import inspect
import itertools
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

import torch

from memdoctor.sensing.frames import local_variables
from memdoctor.sensing.user_code import class_file, is_user_file

Step = tuple[str, str]
"""Kind and text of a `Piece`; the text of a `moment` is the storage key of its parameter."""
Edge = tuple[Step, object]
_Handler = Callable[[Any], Iterator[Edge]]

INSIDE: Step = ("inside", "")
SOMEWHERE: Step = ("index", "*")
_PLAIN = frozenset({list, tuple, dict})
_MOST_INDICES = 10_000
"""Elements of one list that are told apart; a step of its own for each of millions would be most of a search."""
_NOBODYS = ("memdoctor.", "_pytest.")
"""Packages whose objects are not entered: any fixture of pytest leads to all tests of the session."""
LEAVES = frozenset({int, str, float, bool, bytes, complex, type(None), torch.dtype, torch.device, torch.Size, range})
"""Exact types that hold nothing; most of a heap."""


def edges(owner: object, most: int | None = None) -> list[Edge]:
    """What the object holds, some `LEAVES` left out; empty if it changes in another thread meanwhile, or refuses.

    `most` is where reading it ends.
    """
    kind: type = type(owner)
    try:
        return list(itertools.islice(_handler(kind)(owner), most))
    except Exception:  # any object of the user's heap may be passed here, in any state
        return []


def is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """By type, because `isinstance` asks `__class__`, which a class of the user may compute."""
    return issubclass(type(value), torch.Tensor)


def forget_types() -> None:
    """Let go of the classes that were met: a program may define new ones in each iteration."""
    for cache in (_handler, is_array, _namespace, _slots):
        cache.cache_clear()


@functools.cache
def is_array(kind: type) -> bool:
    """Whether it is numpy's, by name, because a program need not have numpy."""
    return any(base.__name__ == "ndarray" and base.__module__ == "numpy" for base in kind.__mro__)


@functools.cache
def _handler(kind: type) -> _Handler:
    for bases, handler in _HANDLERS:
        if issubclass(kind, bases):
            return handler
    if is_array(kind):
        return _array
    return _nothing if kind.__module__.startswith(_NOBODYS) else _instance


def _nothing(owner: object) -> Iterator[Edge]:
    return iter(())


def _made_module(owner: types.ModuleType) -> Iterator[Edge]:
    """One that was made at run time, to share values; the globals of modules with a file are roots of their own."""
    variables = vars(owner)
    if type(owner) is types.ModuleType and variables.get("__spec__") is None and "__file__" not in variables:
        for name, value in list(variables.items()):
            if not name.startswith("__"):
                yield ("attr", name), value


def _dict(owner: dict[Any, Any]) -> Iterator[Edge]:
    for key, value in dict.items(owner):  # not `owner.items()`, which a subclass may have made its own
        if type(value) not in LEAVES:
            yield key_step(key), value
        if type(key) not in LEAVES:
            yield INSIDE, key
    if type(owner) is not dict:
        yield from _instance(owner)


def key_step(key: object) -> Step:
    """Only strings and integers can be told from one run to the next."""
    return ("key", repr(key) if type(key) in (str, int) else "*")


def _sequence(owner: Any) -> Iterator[Edge]:
    kind = next(base for base in (list, tuple, deque) if issubclass(type(owner), base))
    for index, value in enumerate(kind.__iter__(owner)):
        if type(value) not in LEAVES:
            yield ("index", str(index)) if index < _MOST_INDICES else SOMEWHERE, value
    if type(owner) not in (list, tuple, deque):
        yield from _instance(owner)


def _tuple(owner: tuple[Any, ...]) -> Iterator[Edge]:
    fields = getattr(type(owner), "_fields", None)
    if not isinstance(fields, tuple):
        yield from _sequence(owner)
        return
    for name, value in zip(fields, tuple.__iter__(owner)):
        yield ("attr", str(name)), value


def _set(owner: Any) -> Iterator[Edge]:
    kind = set if issubclass(type(owner), set) else frozenset
    for value in kind.__iter__(owner):
        yield ("key", "*"), value
    if type(owner) not in (set, frozenset):
        yield from _instance(owner)


def _function(owner: types.FunctionType) -> Iterator[Edge]:
    code = owner.__code__
    parameters = code.co_varnames[: code.co_argcount]
    defaults = owner.__defaults__ or ()
    for name, value in zip(parameters[len(parameters) - len(defaults):], defaults):
        yield ("default", name), value
    for name, value in (owner.__kwdefaults__ or {}).items():
        yield ("default", name), value
    for name, cell in zip(code.co_freevars, owner.__closure__ or ()):
        yield from ((("cell", name), content) for content in gc.get_referents(cell))
    for name, value in vars(owner).items():
        yield ("attr", name), value


def _partial(owner: functools.partial[Any]) -> Iterator[Edge]:
    """What it binds goes by the names of the function's parameters."""
    function = inspect.unwrap(getattr(owner.func, "__func__", owner.func))
    code = getattr(function, "__code__", None)
    bound_self = function is not owner.func and isinstance(owner.func, types.MethodType)
    parameters = code.co_varnames[bound_self:code.co_argcount] if isinstance(code, types.CodeType) else ()
    for index, value in enumerate(owner.args):
        yield ("default", parameters[index]) if index < len(parameters) else INSIDE, value
    for name, value in owner.keywords.items():
        yield ("default", name) if parameters else INSIDE, value
    yield INSIDE, owner.func


def _generator(owner: Any) -> Iterator[Edge]:
    frame = next((getattr(owner, name) for name in ("gi_frame", "cr_frame", "ag_frame") if hasattr(owner, name)), None)
    if frame is not None:
        yield from _frame(frame)
    yield from _unnamed(owner)


def _frame(owner: types.FrameType) -> Iterator[Edge]:
    """Of a library's function what it was given and has made, not the library's own structures."""
    is_users = is_user_file(owner.f_code.co_filename)
    for name, value in local_variables(owner):
        if is_users or is_tensor(value) or type(value) in _PLAIN:
            yield ("local", name), value


def _thread_local(owner: threading.local) -> Iterator[Edge]:
    """Attributes in all threads; asking for its `__dict__` would run the user's `__init__` in this one."""
    for value in gc.get_referents(owner):
        if type(value) is dict:
            attributes = (item for each in list(value.values()) if type(each) is dict for item in list(each.items()))
            yield from ((("attr", str(name)), item) for name, item in attributes)
    yield INSIDE, type(owner)


def _class(owner: type) -> Iterator[Edge]:
    if class_file(owner) is not None:
        for name, value in list(vars(owner).items()):
            yield ("attr", name), value
        for kind in (type(owner), *owner.__bases__):
            yield INSIDE, kind


def _module(owner: torch.nn.Module) -> Iterator[Edge]:
    for name, value in list(vars(owner).items()):
        if name in ("_modules", "_parameters", "_buffers"):
            yield from ((("module", child), item) for child, item in list(value.items()))
        else:
            yield ("attr", name), value
    yield INSIDE, type(owner)


def _tensor(owner: torch.Tensor) -> Iterator[Edge]:
    """Attributes that the user has set; asking for `__dict__` would make one for every tensor."""
    for value in gc.get_referents(owner):
        if type(value) is dict:
            yield from ((("attr", str(name)), item) for name, item in list(value.items()))
        else:
            yield INSIDE, value


def _optimizer(owner: torch.optim.Optimizer) -> Iterator[Edge]:
    for name, value in list(vars(owner).items()):
        if name != "state":
            yield ("attr", name), value
    for parameter, state in list(owner.state.items()):
        is_tensor = isinstance(parameter, torch.Tensor)
        yield ("moment", str(parameter.untyped_storage()._cdata)) if is_tensor else key_step(parameter), state
        yield INSIDE, parameter


def _cached_function(owner: Any) -> Iterator[Edge]:
    for value in gc.get_referents(owner):
        yield INSIDE if value is owner.__wrapped__ else ("cached", owner.__name__), value


def _array(owner: Any) -> Iterator[Edge]:
    """A tensor whose memory it shares is only its memory: nobody holds that as a tensor."""
    if owner.base is not None and not is_tensor(owner.base):
        yield INSIDE, owner.base
    if owner.dtype == object:
        yield from ((("index", str(index)), value) for index, value in enumerate(owner.flat))


def attributes(owner: object) -> Iterator[tuple[str, object]]:
    """Those of the instance itself, in its `__dict__` or its slots, under their names."""
    kind: type = type(owner)
    yield from list(_variables(owner).items())
    for name, member in _slots(kind):
        value = _slot(member, owner)
        if value is not None:
            yield name, value


def _instance(owner: object) -> Iterator[Edge]:
    for name, value in attributes(owner):
        yield ("attr", name), value
    variables = _variables(owner)
    yield from (edge for edge in _unnamed(owner) if edge[1] is not variables)


def _variables(owner: object) -> dict[str, object]:
    kind: type = type(owner)
    descriptor = _namespace(kind)
    return descriptor.__get__(owner) if descriptor is not None else {}


@functools.cache
def _namespace(kind: type) -> Any:
    """The descriptor of `__dict__`, unless the class has made a property of it."""
    found = next((vars(base)["__dict__"] for base in kind.__mro__ if "__dict__" in vars(base)), None)
    return found if isinstance(found, (types.GetSetDescriptorType, types.MemberDescriptorType)) else None


@functools.cache
def _slots(kind: type) -> tuple[tuple[str, Any], ...]:
    items = (item for base in kind.__mro__ for item in vars(base).items() if item[0] != "__dict__")
    return tuple((name, member) for name, member in items if isinstance(member, types.MemberDescriptorType))


def _slot(member: Any, owner: object) -> object:
    try:
        return member.__get__(owner)
    except AttributeError:
        return None


def _unnamed(owner: object) -> Iterator[Edge]:
    for value in gc.get_referents(owner):
        yield INSIDE, value


_HANDLERS: tuple[tuple[Any, _Handler], ...] = (
    ((types.CodeType, types.BuiltinFunctionType, weakref.ref, *weakref.ProxyTypes), _nothing),
    (types.ModuleType, _made_module),
    (dict, _dict),
    ((list, deque), _sequence),
    (tuple, _tuple),
    ((set, frozenset), _set),
    (types.FunctionType, _function),
    (functools.partial, _partial),
    ((types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType), _generator),
    (types.FrameType, _frame),
    (threading.local, _thread_local),
    ((types.MethodType, types.CellType, types.TracebackType), _unnamed),
    (type, _class),
    (torch.Tensor, _tensor),
    (torch.nn.Module, _module),
    (torch.optim.Optimizer, _optimizer),
    (type(functools.lru_cache(_nothing)), _cached_function),
)
