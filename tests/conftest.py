"""After each test PyTorch and the interpreter are as before: no hook, mode, callback or patched name is left."""

from __future__ import annotations

import builtins
import gc
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PATCHABLE = (
    "builtins", "sys", "threading", "threading.Thread", "gc", "torch", "torch._C", "torch.Tensor", "torch.cuda",
    "torch.cuda.memory", "torch.cuda.random", "torch.accelerator", "torch.serialization", "torch.autograd",
    "torch.nn.Module", "torch.optim.Optimizer", "torch.utils._foreach_utils",
    "torch.utils.data.DataLoader", "torch.utils.data.dataloader", "torch.utils.data.dataloader._BaseDataLoaderIter",
    "torch.distributions.Distribution", "torch.backends.cudnn", "torch.utils.checkpoint",
)
"""Modules and classes whose names memdoctor replaces, or could."""
LAST_ERROR = {"last_exc", "last_type", "last_value", "last_traceback"}
CHANGES_BY_ITSELF = LAST_ERROR | {"stdout", "stderr", "stdin", "_getframe"}
HOOKS = {
    "torch.nn.modules.module": (
        "_global_forward_pre_hooks", "_global_forward_hooks", "_global_forward_hooks_always_called",
        "_global_backward_hooks", "_global_backward_pre_hooks", "_global_module_registration_hooks",
        "_global_parameter_registration_hooks", "_global_buffer_registration_hooks",
    ),
    "torch.optim.optimizer": ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"),
}


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What monkeypatch itself has replaced is put back before this looks again: it asks for it last.

    Only numbers and texts are kept meanwhile: a function would lead a search of the heap into all of PyTorch.
    """
    for name in LAST_ERROR:  # of a test that failed: memdoctor looks into its frames, where all of pytest is
        vars(sys).pop(name, None)
    before, ids_before = state(), {name: id(value) for name, value in names().items()}
    yield
    monkeypatch.undo()
    changed = {name: value for name, value in names().items() if ids_before.get(name, id(value)) != id(value)}
    assert [name for name, value in changed.items() if not _is_torchs(value)] == []
    assert state() == before
    assert not left_in_torch()


@pytest.fixture
def searches_need_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heap of a test session is large, and short programs are over before searching it has become cheap."""
    monkeypatch.setattr("memdoctor.sensing.census._FREE_SECONDS", 1e6)
    monkeypatch.setattr("memdoctor.sensing.looker._FREE_SECONDS", 1e6)


def names() -> dict[str, object]:
    """Functions and classes under every name that could be patched."""
    return {
        f"{owner}.{name}": value
        for owner in PATCHABLE if (found := _find(owner)) is not None
        for name, value in list(vars(found).items()) if name not in CHANGES_BY_ITSELF and callable(value)
    }


def _is_torchs(value: object) -> bool:
    """PyTorch wraps some of its functions anew (`torch.manual_seed`) when `torch._dynamo` is first imported."""
    is_ours = "/memdoctor/" in getattr(getattr(value, "__code__", None), "co_filename", "")
    return str(getattr(value, "__module__", "")).partition(".")[0] == "torch" and not is_ours


def state() -> dict[str, object]:
    """What the interpreter calls on its own."""
    return {
        "gc callbacks": [each for each in gc.callbacks if not each.__module__.startswith("hypothesis")],
        "garbage collector": (gc.isenabled(), gc.get_threshold()),
        "trace and profile function": (sys.gettrace(), sys.getprofile()),
        "trace and profile function of new threads": (threading.gettrace(), threading.getprofile()),
        "exception hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "other hooks": (sys.displayhook, sys.breakpointhook, sys.get_asyncgen_hooks(), tuple(sys.meta_path)),
        # PyTorch's loaders set theirs of SIGCHLD for good.
        "signal handlers": [signal.getsignal(each) for each in sorted(signal.valid_signals() - {signal.SIGCHLD})],
        "import": builtins.__import__,
        "warnings": (warnings.showwarning, [each for each in warnings.filters if "global hooks" in str(each[1])]),
    }


def left_in_torch() -> dict[str, object]:
    """Global hooks and modes; a test that needs one removes it itself."""
    left: dict[str, object] = {}
    for module, names in HOOKS.items():
        if module in sys.modules:
            left |= {name: hooks for name in names if (hooks := getattr(sys.modules[module], name, None))}
    torch = sys.modules.get("torch")
    if torch is not None:
        left |= {name: count for name, count in _modes(torch).items() if count}
    return left


def _modes(torch: Any) -> dict[str, int]:
    depths: dict[str, Callable[[], int]] = {
        "function modes": torch._C._len_torch_function_stack,
        "dispatch modes": torch._C._len_torch_dispatch_stack,
    }
    return {name: depth() for name, depth in depths.items()}


def _find(path: str) -> Any:
    """The module or class, if it has been loaded; looking for it loads nothing."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = sys.modules.get(".".join(parts[:length]))
        if found is not None:
            for name in parts[length:]:
                found = getattr(found, name, None)
            return found
    return None
