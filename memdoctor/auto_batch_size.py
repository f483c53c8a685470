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
def auto_batch_size(
    function: Callable[..., _Result],
    starting_batch_size: int = ...,
    reduce_batch_size_fn: Callable[[], int] | None = ...,
    *,
    start: int | None = ...,
    keep_global_batch: bool = ...,
) -> Callable[..., _Result]: ...


@overload
def auto_batch_size(
    function: None = None,
    starting_batch_size: int = ...,
    reduce_batch_size_fn: Callable[[], int] | None = ...,
    *,
    start: int | None = ...,
    keep_global_batch: bool = ...,
) -> _Decorator: ...


def auto_batch_size(
    function: Callable[..., Any] | None = None,
    starting_batch_size: int = 128,
    reduce_batch_size_fn: Callable[[], int] | None = None,
    *,
    start: int | None = None,
    keep_global_batch: bool = False,
) -> Any:
    """Call `train(batch_size, ...)` with the largest of `start`, `start // 2`, ... for which the card is not full.

    ::

        @memdoctor.auto_batch_size(start=256)
        def train(batch_size, epochs): ...

        train(epochs=3)

    It takes the place of accelerate's `find_executable_batch_size` without other changes: `starting_batch_size` is
    another name for `start`, and `reduce_batch_size_fn()`, where given, says the next size instead of halving.

    All arguments of the call pass through behind the batch size. With `keep_global_batch` the number of batches to
    accumulate before a step stands between them, `train(batch_size, accumulation, ...)`: `start` samples make a step
    whatever fits, and only sizes that divide it are tried. The next call on the same card begins at the size that
    worked. What a failed attempt left on the card is freed before the next; what it did elsewhere is not undone. An
    error that does not mean a full card comes out unchanged, and so does a full card at the last size.

    Raises `BadInput` when it decorates what cannot take a batch size first.
    """
    first = starting_batch_size if start is None else start
    if first < 1:
        raise BadInput(f"a batch size cannot start at {first}.", "Start at a size that is surely large enough: 128.")

    def decorate(train: Callable[..., Any]) -> Callable[..., Any]:
        return _retrying(train, _Sizes(first, reduce_batch_size_fn, keep_global_batch))

    return decorate if function is None else decorate(function)


class _Sizes:
    """Which sizes one function is called with, and what worked on which card."""

    def __init__(self, start: int, reduce: Callable[[], int] | None, keep_global_batch: bool) -> None:
        self._start = start
        self._reduce = reduce
        self._keep_global_batch = keep_global_batch
        self._worked: dict[str, int] = {}

    def first(self) -> int:
        return self._worked.get(_card_in_use(), self._start)

    def remember(self, size: int) -> None:
        self._worked[_card_in_use()] = size

    def below(self, size: int) -> int:
        """The next size to try; 0 when there is none."""
        if self._reduce is not None:
            return self._reduce()
        smaller = range(size // 2, 0, -1)
        if not self._keep_global_batch:
            return size // 2
        return next((each for each in smaller if self._start % each == 0), 0)

    def arguments(self, size: int) -> tuple[int, ...]:
        return (size, self._start // size) if self._keep_global_batch else (size,)


def _retrying(train: Callable[..., _Result], sizes: _Sizes) -> Callable[..., _Result]:
    _refuse_without_batch_size(train)

    @functools.wraps(train)
    def wrapper(*arguments: Any, **options: Any) -> _Result:
        size = sizes.first()
        _refuse_a_call_that_cannot_be(train, (*sizes.arguments(size), *arguments), options)
        while True:
            try:
                result = train(*sizes.arguments(size), *arguments, **options)
                sizes.remember(size)
                return result
            except Exception as error:
                if not is_out_of_memory(error) or (size := sizes.below(size)) < 1:
                    raise
            # Not inside the `except`: there the traceback keeps every frame of the attempt, and its tensors, alive.
            _free_cached_memory()

    return wrapper


def _refuse_without_batch_size(train: Callable[..., Any]) -> None:
    if not user_function.takes_one_first(train):
        raise BadInput(
            f"{train.__qualname__} takes {user_function.parameters(train)}; auto_batch_size calls it with the batch "
            "size before the arguments of the call.",
            "Write `def train(batch_size, ...)`; a method cannot be decorated, a function inside it can.",
        )


def _refuse_a_call_that_cannot_be(
    train: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    if not user_function.takes(train, *arguments, **options):
        raise BadInput(
            f"{train.__qualname__} takes {user_function.parameters(train)}, and was called with something else behind "
            "the batch size that auto_batch_size puts first.",
            f"Leave the batch size out of the call: {train.__name__}(...)",
        )


def _card_in_use() -> str:
    """Its name; empty before the program has touched CUDA, which is not for us to begin."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    return str(torch.cuda.get_device_name())


def _free_cached_memory() -> None:
    """Collect the cycles in which an attempt was caught, then return its blocks, which the next may cut otherwise."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.cuda.empty_cache()
