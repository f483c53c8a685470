"""`flex_attention` without a compiler: bytes of PyTorch 2.12.1 on CUDA; with real values, the host's numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from memdoctor.virtual.gpu import virtual_gpu

flexible = pytest.importorskip("torch.nn.attention.flex_attention", reason="this PyTorch has none")
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
WORKSPACE = 2 ** 25
"""Of cuBLAS, one for each thread."""


def options_of(kind: str) -> dict[str, object]:
    if kind == "mask":
        mask = flexible.create_block_mask(lambda b, h, i, j: i >= j, None, None, 256, 256, device="cuda")
        return {"block_mask": mask}
    bias = torch.randn(4, device="cuda")
    scores: dict[str, Callable[..., torch.Tensor]] = {
        "scaled": lambda score, b, h, i, j: score * 1.5, "places": lambda score, b, h, i, j: score + bias[h] * (i - j)}
    return {"score_mod": scores[kind]}


@pytest.mark.parametrize(
    ("kind", "dtype", "forward", "backward"),
    [
        ("places", torch.bfloat16, 7_363_072, 15_517_696), ("mask", torch.bfloat16, 7_361_024, 15_515_648),
        ("scaled", torch.bfloat16, 7_363_072, 16_566_272), ("places", torch.float32, 7_887_360, 18_402_304),
        ("mask", torch.float32, 7_885_312, 18_465_280),
    ],
)
def test_peak(kind: str, dtype: torch.dtype, forward: int, backward: int) -> None:
    """Backward may miss one block, a number that PyTorch makes on the card when it traces the functions."""
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        operands = [torch.randn(2, 4, 256, 64, device="cuda", dtype=dtype) for _ in range(3)]
        options = options_of(kind)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        flexible.flex_attention(*operands, **options)
        assert torch.cuda.max_memory_allocated() - before == forward + WORKSPACE
        operands = [one.requires_grad_() for one in operands]
        torch.cuda.reset_peak_memory_stats()
        flexible.flex_attention(*operands, **options).sum().backward()
        assert 0 <= backward + 2 * WORKSPACE - (torch.cuda.max_memory_allocated() - before) <= 512


@pytest.mark.parametrize("is_learned", [False, True], ids=["a bias that is given", "a bias that is learned"])
def test_real_values_and_slopes(is_learned: bool) -> None:
    host, bias = [torch.randn(1, 2, 16, 8) for _ in range(3)], torch.randn(2)

    def written_out(query, key, value, slope):
        places = torch.arange(16)
        scores = query @ key.mT / 8 ** 0.5 * 1.5 + slope[:, None, None] * (places[:, None] - places)
        return scores.softmax(-1) @ value

    def on_the_card(query, key, value, slope):
        return flexible.flex_attention(
            query, key, value, score_mod=lambda score, b, h, i, j: score * 1.5 + slope[h] * (i - j))

    def computed(attend, device):
        operands = [one.to(device).requires_grad_() for one in (*(one.clone() for one in host), bias.clone())]
        operands[3].requires_grad_(is_learned)
        out = attend(*operands)
        out.square().sum().backward()
        return [one.detach().cpu() for one in (out, *(one.grad for one in operands if one.requires_grad))]

    expected = computed(written_out, "cpu")
    with virtual_gpu("h100-80gb", values="real"):
        found = computed(on_the_card, "cuda")
    torch.testing.assert_close(found, expected)


class LearnedBias(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(64, 2))

    def added(self, score, b, h, i, j):
        return score + self.weight[j, h]

    def __call__(self, score, b, h, i, j):
        return self.added(score, b, h, i, j)


@pytest.mark.parametrize(
    "score_mod_of",
    [
        pytest.param(lambda bias: lambda score, b, h, i, j: score + bias.weight[j, h], id="a module around it"),
        pytest.param(lambda bias: bias.added, id="a method"),
        pytest.param(lambda bias: bias, id="an object that is called"),
        pytest.param(
            lambda bias: functools.partial(lambda one, score, b, h, i, j: score + one.weight[j, h], bias),
            id="a partial function"),
        pytest.param(
            lambda bias: lambda score, b, h, i, j, weights=(bias.weight,): score + weights[0][j, h], id="a default"),
    ],
)
def test_what_the_score_function_learns_gets_its_gradient(score_mod_of: Callable[..., Any]) -> None:
    with virtual_gpu("h100-80gb") as gpu:
        operands, bias = [torch.randn(1, 2, 64, 16, device="cuda") for _ in range(3)], LearnedBias().cuda()
        flexible.flex_attention(*operands, score_mod=score_mod_of(bias)).sum().backward()
        assert bias.weight.grad is not None and bias.weight.grad.is_cuda
        assert {read.what for read in gpu.value_reads} == {
            "torch.compile, run eagerly", "flex_attention, run without a compiler", "all"}


def test_functions_that_know_each_other_and_names_that_are_not_set_yet() -> None:
    def scaled(score, b, h, i, j):
        return score * 2 if later is None else other(score, b, h, i, j)

    def other(score, b, h, i, j):
        return scaled(score, b, h, i, j) if unset() else score

    def unset():
        return False and never

    with virtual_gpu("h100-80gb"):
        operands = [torch.randn(1, 2, 64, 16, device="cuda", requires_grad=True) for _ in range(3)]
        later = True
        flexible.flex_attention(*operands, score_mod=scaled).sum().backward()
        assert all(one.grad.is_cuda for one in operands)
    never = True
    assert not unset()


def test_on_the_host_it_computes_as_without_a_card() -> None:
    query, mask = torch.randn(1, 2, 16, 16), flexible.create_block_mask(
        lambda b, h, i, j: i >= j, None, None, 16, 16, device="cpu")
    expected = torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)
    with virtual_gpu("h100-80gb"):
        found = flexible.flex_attention(query, query, query, block_mask=mask)
    torch.testing.assert_close(found, expected)


def test_compiled_it_is_run_without_a_compiler_and_that_is_noted() -> None:
    with virtual_gpu("h100-80gb") as gpu:
        operands = [torch.randn(1, 2, 64, 16, device="cuda", requires_grad=True) for _ in range(3)]
        torch.compile(flexible.flex_attention)(*operands).sum().backward()
        assert all(one.grad.is_cuda for one in operands)
        assert any("flex_attention" in note for note in map(str, gpu.value_reads))


def test_numbers_in_functions_over_several_dimensions() -> None:
    """They reach the card as tensors of the host, converted to the type of the others."""
    with virtual_gpu("h100-80gb", values="real"):
        found = torch.func.vmap(torch.func.vmap(lambda one: one * 1.5))(torch.ones(2, 3, device="cuda"))
        assert found.cpu().tolist() == [[1.5] * 3] * 2
