"""What is advised for what fills the card: the right thing, its measured bytes, and nothing for small change."""

from __future__ import annotations

import math
from typing import Any

import pytest

from memdoctor.analysis.savings import savings
from memdoctor.foundation.breakdown import Birthmark, Breakdown, Crash, ModuleBytes, TensorBytes

STACK = (
    ModuleBytes("Net", 0, 900, 800, recomputed_bytes=15),
    ModuleBytes("Net.encoder", 0, 850, 780, recomputed_bytes=0),
    ModuleBytes("Net.encoder.layers", 0, 800, 770, recomputed_bytes=385),
    ModuleBytes("Net.encoder.layers.0", 400, 400, 385),
    ModuleBytes("Net.encoder.layers.1", 400, 400, 385),
)


def advice(sizes: dict[str, int], *, modules: tuple[ModuleBytes, ...] = (), request: int = 1, **mark: Any) -> str:
    in_evaluation = mark.pop("in_evaluation", False)
    breakdown = Breakdown(1000, sizes, modules)
    crash = Crash(request, 1000, 1000, 0, 1000, None, 0, Birthmark(**mark), None, in_evaluation, breakdown)
    return "\n".join(savings(crash))


def test_the_stack_of_layers_is_recomputed_not_one_of_them_nor_all_around_it() -> None:
    text = advice({"activations": 800}, modules=STACK, phase="forward", followed=True)
    assert text.splitlines() == [
        "Halve the batch (where it trains, accumulate the gradients of both halves): up to 400 B less.",
        "Recompute the parts of Net.encoder.layers in backward, a few at a time (`torch.utils.checkpoint`): "
        "up to 385 B less.",
    ]


def test_inference_has_nothing_to_recompute() -> None:
    assert "Recompute" not in advice({"activations": 800}, modules=STACK, phase="forward")


def test_evaluation_with_gradients_is_told_about_no_grad_and_not_about_recomputing() -> None:
    text = advice({"activations": 800}, modules=STACK, phase="forward", followed=True, in_evaluation=True)
    assert "no_grad()` (MD201): activations are kept for a backward that never runs: up to 800 B less." in text
    assert "Recompute" not in text


@pytest.mark.parametrize(
    ("sizes", "mark", "says"),
    [
        pytest.param({"gradients": 200}, {"phase": "forward"}, "zero_grad", id="old gradients in forward"),
        pytest.param({"temporaries": 200}, {"phase": "optimizer step"}, "foreach=False", id="a step of all at once"),
        pytest.param({"optimizer state": 200}, {}, "Adafactor", id="Adam's two moments"),
        pytest.param({"parameters": 200}, {}, "half precision: up to 100 B", id="weights in float32"),
        pytest.param({"inputs and data": 200}, {}, "Keep data on the host", id="a data set on the card"),
        pytest.param({"read from files": 200}, {}, "Load the checkpoint to the host", id="a checkpoint on the card"),
        pytest.param({"activations and other": 200}, {}, "Halve the batch", id="a card without a ledger"),
    ],
)
def test_what_fills_the_card_has_its_advice(sizes: dict[str, int], mark: dict[str, Any], says: str) -> None:
    assert says in advice(sizes, **mark)


@pytest.mark.parametrize(
    ("sizes", "mark"),
    [
        pytest.param({"gradients": 200}, {"phase": "backward"}, id="gradients in backward are needed"),
        pytest.param({"temporaries": 200}, {"phase": "backward"}, id="temporaries of backward are needed"),
        pytest.param({"optimizer state": 49}, {}, id="less than a twentieth"),
    ],
)
def test_what_would_not_help_is_not_advised(sizes: dict[str, int], mark: dict[str, Any]) -> None:
    assert advice(sizes, **mark) == "`memdoctor batch-size` finds the largest batch that fits."


@pytest.mark.parametrize(
    ("shape", "alike", "says"),
    [
        pytest.param((20, 30), (5, 4, 30), "(20, 30) and the one of its size in pieces", id="of another shape"),
        pytest.param((20, 30), (20, 31), "(20, 30) in pieces", id="another size"),
        pytest.param((8, 512, 512), (8, 512, 512), "`torch.nn.functional.scaled_dot", id="scores of attention"),
        pytest.param((8, 511, 511), (1,), "(8, 511, 511) in pieces", id="small images"),
    ],
)
def test_a_large_request_is_computed_with_the_tensors_of_its_size(
    shape: tuple[int, ...], alike: tuple[int, ...], says: str
) -> None:
    tensor = TensorBytes(alike, "float32", 300, 1, "activations", "Net.head", None)
    breakdown = Breakdown(1000, {}, tensors=(tensor,))
    crash = Crash(600, 1000, 1000, 0, 1000, mark=Birthmark(shape=shape), breakdown=breakdown)
    assert says in savings(crash)[0]
    assert ("900 B" in savings(crash)[0]) == (math.prod(shape) == math.prod(alike))


def test_the_tensors_of_other_layers_cannot_be_computed_in_pieces_with_this_one() -> None:
    tensor = TensorBytes((20, 30), "float32", 300, 2, "activations", "Net.layers.*", None)
    mark = Birthmark("forward", "Net.layers.2", shape=(20, 30))
    crash = Crash(600, 1000, 1000, 0, 1000, mark=mark, breakdown=Breakdown(1000, {}, tensors=(tensor,)))
    assert "refused (20, 30) in pieces, one alive at a time: up to 600 B" in savings(crash)[0]


def test_where_the_model_fills_the_card_the_batch_is_let_alone() -> None:
    assert "A smaller batch would not help" in advice({"parameters": 300, "gradients": 300, "optimizer state": 300})
    assert "A smaller batch" not in advice({"parameters": 300, "gradients": 300, "optimizer state": 299})


def test_an_attempt_that_its_error_keeps_alive_is_let_go_first() -> None:
    crash = Crash(10, 1000, 1000, 0, 1000, retried_bytes=701, breakdown=Breakdown(1000, {"activations": 800}))
    first, *others = savings(crash)
    assert first.startswith("Try again only after the `except` block has ended (MD108)") and "up to 701 B" in first
    assert others == []


def test_a_huge_request_is_computed_in_pieces_with_its_shape() -> None:
    text = advice({}, request=600, shape=(20_000, 3_000))
    assert text == "Compute the tensor that was refused (20000, 3000) in pieces, one alive at a time: up to 600 B less."


def test_the_largest_effect_comes_first() -> None:
    text = advice({"optimizer state": 300, "parameters": 200, "inputs and data": 200})
    assert [line.split()[0] for line in text.splitlines()] == ["Take", "Keep", "Load"]
