"""Keeps both modes in place where PyTorch drops them: in backward, in saved-tensor hooks and in other threads.

A function mode is popped while the C++ call runs that it answered, so that custom backwards, hooks and checkpoint's
recomputation would run without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from memdoctor.virtual.complaints import of_a_card
from memdoctor.virtual.numbering import BackwardNumbers
from memdoctor.virtual.patches import Patches

Modes = Callable[[], contextlib.AbstractContextManager[Any]]


def keep_modes(patches: Patches, device_mode: TorchFunctionMode, both_modes: Modes) -> None:
    """Wrap the engine, the constructor of saved-tensor hooks and the first function of every new thread."""
    numbered = BackwardNumbers().after(torch.autograd.graph._engine_run_backward)
    run_backward = _in_words_of_a_card(_in_mode(numbered, device_mode))
    for owner in (torch.autograd.graph, torch.autograd):
        patches.replace(owner, "_engine_run_backward", run_backward)
    hooks = torch.autograd.graph.saved_tensors_hooks
    patches.set(hooks, "__init__", _with_wrapped_hooks(hooks.__init__, device_mode))
    patches.set(Thread, "_bootstrap_inner", _in_both_modes(vars(Thread)["_bootstrap_inner"], both_modes))


def _in_mode(function: Callable[..., Any], mode: TorchFunctionMode) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with _reentered(mode):
            return function(*args, **kwargs)
    return run


def _in_words_of_a_card(run_backward: Callable[..., Any]) -> Callable[..., Any]:
    """The engine names the type of a tensor that was written to after it had been saved."""
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return run_backward(*args, **kwargs)
        except RuntimeError as error:
            if type(error) is not RuntimeError or "[Meta" not in str(error):
                raise
            raise RuntimeError(of_a_card(str(error))) from None
    return run


@contextlib.contextmanager
def _reentered(mode: TorchFunctionMode) -> Iterator[None]:
    if mode in _get_current_function_mode_stack():  # type: ignore[no-untyped-call]  # untyped in torch
        yield
        return
    with mode:
        yield


def _with_wrapped_hooks(constructor: Callable[..., None], mode: TorchFunctionMode) -> Callable[..., None]:
    def __init__(self: Any, pack_hook: Callable[..., Any], unpack_hook: Callable[..., Any]) -> None:
        constructor(self, _enabled(pack_hook, mode), _enabled(unpack_hook, mode))
    return __init__


def _enabled(hook: Callable[..., Any], mode: TorchFunctionMode) -> Callable[..., Any]:
    """C++ calls these hooks with the mode popped, and within autocast with torch functions disabled altogether."""
    def run(value: Any) -> Any:
        with torch._C._EnableTorchFunction(), _reentered(mode):
            return hook(value)
    return run


def _in_both_modes(bootstrap: Callable[[Thread], None], both_modes: Modes) -> Callable[[Thread], None]:
    """Modes belong to a thread: data loaders and training loops in threads start with their own."""
    def _bootstrap_inner(thread: Thread) -> None:
        with both_modes():
            bootstrap(thread)
    return _bootstrap_inner
