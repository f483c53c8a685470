"""The decorator halves on a full card only, and the failed attempt is gone before the next begins."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch

import memdoctor
from memdoctor.foundation.errors import BadInput


def full_card() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def test_halves_until_it_fits_and_passes_everything_through() -> None:
    attempts = []

    @memdoctor.auto_batch_size(start=100)
    def train(batch_size: int, *names: str, epochs: int) -> str:
        attempts.append((batch_size, names, epochs))
        if batch_size > 30:
            raise full_card()
        return "trained"

    assert train("a", "b", epochs=3) == "trained"
    assert attempts == [(100, ("a", "b"), 3), (50, ("a", "b"), 3), (25, ("a", "b"), 3)]


def test_the_next_call_begins_at_the_size_that_worked() -> None:
    attempts = []

    @memdoctor.auto_batch_size(start=64)
    def train(batch_size: int) -> None:
        attempts.append(batch_size)
        if batch_size > 16:
            raise full_card()

    train()
    train()
    assert attempts == [64, 32, 16, 16]


def test_a_call_that_never_fitted_is_not_remembered() -> None:
    attempts = []

    @memdoctor.auto_batch_size(start=2)
    def train(batch_size: int, crowded: bool) -> None:
        attempts.append(batch_size)
        if crowded:
            raise full_card()

    with pytest.raises(torch.OutOfMemoryError):
        train(crowded=True)
    train(crowded=False)
    assert attempts == [2, 1, 2]


def test_each_function_has_its_own_size() -> None:
    decorate = memdoctor.auto_batch_size(start=8)
    sizes = []

    def small(batch_size: int) -> None:
        sizes.append(batch_size)
        if batch_size > 2:
            raise full_card()

    decorate(small)()
    decorate(sizes.append)()
    assert sizes == [8, 4, 2, 8]


def test_the_failed_attempt_is_freed_before_the_next() -> None:
    """The traceback keeps the frame, and the frame its tensors: a retry inside the `except` would still see them."""
    activations: list[weakref.ref[torch.Tensor]] = []
    alive_at_retry = []
    gc.disable()  # only the decorator may collect

    @memdoctor.auto_batch_size(start=2)
    def train(batch_size: int) -> None:
        alive_at_retry.append(any(reference() is not None for reference in activations))
        activation = torch.ones(8)
        activations.append(weakref.ref(activation))
        keeps_itself = [activation]
        keeps_itself.append(keeps_itself)  # type: ignore[arg-type]  # a cycle, as modules and hooks make them
        if batch_size > 1:
            raise full_card()

    try:
        train()
    finally:
        gc.enable()
    assert alive_at_retry == [False, False]


def test_another_error_comes_out_unchanged_at_once() -> None:
    error = ValueError("labels start at 1")
    attempts = []

    @memdoctor.auto_batch_size(start=8)
    def train(batch_size: int) -> None:
        attempts.append(batch_size)
        raise error

    with pytest.raises(ValueError) as caught:
        train()
    assert caught.value is error
    assert attempts == [8]


def test_a_full_card_at_size_1_comes_out_unchanged() -> None:
    error = full_card()

    @memdoctor.auto_batch_size(start=1)
    def train(batch_size: int) -> None:
        raise error

    with pytest.raises(torch.OutOfMemoryError) as caught:
        train()
    assert caught.value is error


def test_a_disguised_full_card_is_recognised() -> None:
    @memdoctor.auto_batch_size(start=2)
    def train(batch_size: int) -> int:
        if batch_size > 1:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return batch_size

    assert train() == 1


def fitting_below(limit: int, sizes: list[object]) -> Callable[..., None]:
    """A training that notes what it is called with."""
    def train(batch_size: int, *arguments: object) -> None:
        sizes.append((batch_size, *arguments) if arguments else batch_size)
        if batch_size > limit:
            raise full_card()

    return train


def test_accelerates_arguments_do_what_they_do_there() -> None:
    """`find_executable_batch_size(function=None, starting_batch_size=128, reduce_batch_size_fn=None)`."""
    sizes: list[object] = []
    smaller = iter([90, 80, 70])
    memdoctor.auto_batch_size(fitting_below(85, sizes), 100, lambda: next(smaller))()
    memdoctor.auto_batch_size(starting_batch_size=8)(fitting_below(4, sizes))()
    assert sizes == [100, 90, 80, 8, 4]


def test_no_smaller_size_lets_the_full_card_out() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        memdoctor.auto_batch_size(fitting_below(0, []), 8, lambda: 0)()


def test_the_global_batch_stays_as_it_is() -> None:
    """25 samples do not fit; of 12 and less, 10 is the largest that divides 100, and 10 batches of it make a step."""
    sizes: list[object] = []
    memdoctor.auto_batch_size(fitting_below(24, sizes), start=100, keep_global_batch=True)("data")
    assert sizes == [(100, 1, "data"), (50, 2, "data"), (25, 4, "data"), (10, 10, "data")]


def test_each_card_has_its_own_size() -> None:
    sizes: list[object] = []
    train = memdoctor.auto_batch_size(fitting_below(4, sizes), start=8)
    for card in ("t4", "a10", "t4"):
        with memdoctor.virtual_gpu(card):
            train()
    assert sizes == [8, 4, 8, 4, 4]


def test_a_batch_size_in_the_call_is_refused() -> None:
    """The habit of those who had none."""
    @memdoctor.auto_batch_size
    def train(batch_size: int) -> None:
        """Takes nothing but the size."""

    with pytest.raises(BadInput, match=r"Leave the batch size out of the call: train\(...\)"):
        train(128)


def test_looks_like_the_function_with_and_without_parentheses() -> None:
    def train(batch_size: int) -> int:
        """Trains."""
        return batch_size

    for decorated in (memdoctor.auto_batch_size(train), memdoctor.auto_batch_size()(train)):
        assert (decorated.__name__, decorated.__doc__) == ("train", "Trains.")
        assert decorated() == 128


@pytest.mark.parametrize(
    ("function", "says"),
    [
        pytest.param(lambda: None, "takes no argument", id="no argument"),
        pytest.param(lambda *, batch_size: None, "takes 1 argument (batch_size)", id="by keyword only"),
        pytest.param(lambda self, batch_size: None, "takes 2 arguments (self, batch_size)", id="a method"),
    ],
)
def test_a_function_that_cannot_take_a_size_first_is_refused(function: object, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        memdoctor.auto_batch_size(start=8)(function)
    assert says in str(refused.value)


def test_a_start_below_1_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot start at 0"):
        memdoctor.auto_batch_size(start=0)


def test_meets_the_size_of_a_virtual_card() -> None:
    """Batches of 2 MiB a sample on a card of 64 MiB: 32 fit, and the cache of the failed attempts is not in the way."""

    @memdoctor.auto_batch_size(start=128)
    def train(batch_size: int) -> int:
        batch = torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
        return len(batch)

    with memdoctor.virtual_gpu("64MiB"):
        assert train() == 32
