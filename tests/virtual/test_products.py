"""Derivatives of products, on the way that a card takes where no factor is zero; bytes of PyTorch 2.12.1 on CUDA."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from memdoctor.virtual.gpu import virtual_gpu


def _slope(run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], None]:
    return lambda x: run(x.requires_grad_()).sum().backward()


def _slope_of_slope(run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], None]:
    def step(x: torch.Tensor) -> None:
        slope = torch.autograd.grad(run(x.requires_grad_()).square().sum(), x, create_graph=True)[0]
        slope.square().sum().backward()
    return step


CASES = {
    "along one dimension": (_slope(lambda x: x.prod(-1)), (64, 1000), 578_048),
    "dimension kept": (_slope(lambda x: x.prod(1, keepdim=True)), (64, 1000, 4), 2_308_096),
    "of another type": (_slope(lambda x: x.prod(1, dtype=torch.float64)), (64, 1000, 4), 6_405_120),
    "of truth values": (lambda x: (x > 0).prod(1), (64, 1000, 4), 2_306_048),
    "one after the other": (_slope(lambda x: x.cumprod(1)), (64, 1000), 1_345_024),
    "one after the other, across": (_slope(lambda x: x.cumprod(0)), (64, 1000, 4), 5_377_024),
    "twice": (_slope_of_slope(lambda x: x.prod(1)), (64, 1000, 4), 6_147_584),
    "one after the other, twice": (_slope_of_slope(lambda x: x.cumprod(1)), (64, 1000, 4), 9_217_536),
    "without gradient": (lambda x: x.prod(1), (64, 1000, 4), 1024),
}


@pytest.mark.parametrize(("step", "shape", "expected"), CASES.values(), ids=CASES.keys())
def test_peak(step: Callable[[torch.Tensor], object], shape: tuple[int, ...], expected: int) -> None:
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        x = torch.randn(shape, device="cuda")
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(x)
        assert torch.cuda.max_memory_allocated() - before == expected


@pytest.mark.parametrize("run", [lambda x: x.prod(1), lambda x: x.cumprod(1)], ids=["prod", "cumprod"])
def test_with_real_values_zeros_have_their_slopes(run: Callable[[torch.Tensor], torch.Tensor]) -> None:
    host = torch.tensor([[0.0, 2.0, 3.0], [1.0, 2.0, 3.0]], requires_grad=True)
    run(host).sum().backward()
    with virtual_gpu("h100-80gb", values="real"):
        x = host.detach().cuda().requires_grad_()
        run(x).sum().backward()
        found = x.grad.cpu()
    assert found.equal(host.grad)


def test_per_sample_gradients_of_products() -> None:
    with virtual_gpu("h100-80gb"):
        found = torch.func.vmap(torch.func.grad(lambda x: x.prod(0).sum()))(torch.randn(5, 3, 2, device="cuda"))
        assert found.shape == (5, 3, 2)
