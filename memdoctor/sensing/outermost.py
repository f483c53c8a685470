"""The calls of whole models: where each begins and ends, without a price on the modules within them.

Even an empty global hook costs each module of a model some three microseconds, as much as a small layer. So the hook
that sees a call begin leaves PyTorch for as long as that call lasts; one on the called module itself, which goes with
its end, brings it back. Calls that other threads begin meanwhile are not seen.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch.nn.modules.module import register_module_forward_pre_hook


class _Call(NamedTuple):
    """A call that has begun. Its frame tells it from calls of the same module within it, and in other threads."""

    module: weakref.ref[torch.nn.Module]
    frame: int
    thread: int


class OutermostCalls:
    """Calls `begins(module, args)` and `ended(module, output)` while its `with` lasts; both must not raise.

    `output` is None for a call that has raised. Nothing is told of calls that `torch.compile` traces.
    """

    def __init__(
        self, begins: Callable[[torch.nn.Module, Any], None], ended: Callable[[torch.nn.Module, Any], None]
    ) -> None:
        self._begins = begins
        self._ended = ended
        self._hook = self._before
        self._end_hook = _EndHook(self._after)
        self._hooks: dict[int, Any] = {}
        self._key = -1
        self._call: _Call | None = None
        self._left: weakref.ref[torch.nn.Module] | None = None
        """A module that still has the hook: of a call that has raised, PyTorch is going through the hooks."""

    def __enter__(self) -> OutermostCalls:
        handle = register_module_forward_pre_hook(self._hook)
        self._hooks = handle.hooks_dict_ref() or {}  # never empty
        self._key = handle.id  # the same at each return: compiled code asks for it
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._take_off(self._call.module)
        self._take_off(self._left)
        self._call = self._left = None
        self._hooks.pop(self._key, None)

    def recover(self) -> None:
        """This thread is outside of any model: a call that Ctrl-C has left, of which PyTorch tells nothing, is over."""
        if self._call is not None and self._call.thread == threading.get_ident():
            self._take_off(self._call.module)
            self._call = None
            self._hooks[self._key] = self._hook

    def _before(self, module: torch.nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():  # code that traces this would otherwise be compiled with the program
            return
        if self._hooks.pop(self._key, None) is None:  # another thread was first
            return
        self._take_off(self._left)
        self._left = None
        self._call = _Call(weakref.ref(module), id(sys._getframe(2)), threading.get_ident())
        module._forward_hooks[self._key] = self._end_hook
        module._forward_hooks_always_called[self._key] = True
        self._begins(module, args)

    def _after(self, module: torch.nn.Module, output: Any, caller: int, its_caller: int) -> None:
        call = self._call
        if call is None or call.frame not in (caller, its_caller):
            return
        self._call = None
        if call.frame == caller:
            self._left = call.module
        else:
            self._take_off(call.module)
        self._hooks[self._key] = self._hook
        self._ended(module, output)

    def _take_off(self, reference: weakref.ref[torch.nn.Module] | None) -> None:
        module = reference() if reference is not None else None
        if module is not None:
            module._forward_hooks.pop(self._key, None)
            module._forward_hooks_always_called.pop(self._key, None)


class _EndHook:
    """On the called module while it runs; a model that copies or saves itself then takes nothing of memdoctor along."""

    def __init__(self, after: Callable[[torch.nn.Module, Any, int, int], None]) -> None:
        self._after = after

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """PyTorch calls this from the function that `_before` was called from, after an exception from its caller."""
        frame = sys._getframe(1)
        self._after(module, output, id(frame), id(frame.f_back))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")
