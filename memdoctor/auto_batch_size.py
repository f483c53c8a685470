"""The decorator that meets the largest batch size while training: it halves and retries where the card is full."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from memdoctor import user_function
from memdoctor.analysis.messages import is_out_of_memory
from memdoctor.foundation.errors import BadInput

_Result = TypeVar("_Result")


class _Decorator(Protocol):
    def __call__(self, train: Callable[..., _Result], /) -> Callable[..., _Result]: ...


@overload
def auto_batch_size(function: Callable[..., _Result], *, start: int = ...) -> Callable[..., _Result]: ...


@overload
def auto_batch_size(function: None = None, *, start: int = ...) -> _Decorator: ...


def auto_batch_size(function: Callable[..., Any] | None = None, *, start: int = 128) -> Any:
    """Call `train(batch_size, ...)` with the largest of `start`, `start // 2`, ... for which the card is not full.

    ::

        @memdoctor.auto_batch_size(start=256)
        def train(batch_size, epochs): ...

        train(epochs=3)

    All arguments of the call pass through behind the batch size. The next call begins at the size that worked. What a
    failed attempt left on the card is freed before the next; what it did elsewhere is not undone. An error that does
    not mean a full card comes out unchanged, and so does a full card at batch size 1.

    Raises `BadInput` when it decorates what cannot take a batch size first.
    """
    if start < 1:
        raise BadInput(f"a batch size cannot start at {start}.", "Start at a size that is surely large enough: 128.")

    def decorate(train: Callable[..., Any]) -> Callable[..., Any]:
        return _halving(train, start)

    return decorate if function is None else decorate(function)


def _halving(train: Callable[..., _Result], start: int) -> Callable[..., _Result]:
    _refuse_without_batch_size(train)
    worked = start

    @functools.wraps(train)
    def wrapper(*arguments: Any, **options: Any) -> _Result:
        nonlocal worked
        size = worked
        while True:
            try:
                result = train(size, *arguments, **options)
                worked = size
                return result
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Not inside the `except`: there the traceback keeps every frame of the attempt, and its tensors, alive.
            _free_cached_memory()
            size //= 2

    return wrapper


def _refuse_without_batch_size(train: Callable[..., Any]) -> None:
    if not user_function.takes_one_first(train):
        raise BadInput(
            f"{train.__qualname__} takes {user_function.parameters(train)}; auto_batch_size calls it with the batch "
            "size before the arguments of the call.",
            "Write `def train(batch_size, ...)`; a method cannot be decorated, a function inside it can.",
        )


def _free_cached_memory() -> None:
    """Collect the cycles in which an attempt was caught, then return its blocks, which the next may cut otherwise."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.cuda.empty_cache()
