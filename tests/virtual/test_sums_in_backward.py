"""Sums in backward: in place where paths meet, new where a formula or the program adds; PyTorch 2.12.1 on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from memdoctor.virtual.gpu import virtual_gpu

TABLE = (64, 1000)


def both(of: Callable[..., Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(x: torch.Tensor) -> torch.Tensor:
        spread, mean = of(x, 1)
        return spread.square() * mean
    return run


def with_a_hook(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    y.register_hook(lambda grad: grad * 2 + grad * 3)
    return y.exp()


class Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0] + grad * 2


class Within(torch.autograd.Function):
    """Asks for gradients of a graph of its own, in which paths meet."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, grad):
        with torch.enable_grad():
            y = ctx.saved_tensors[0].detach().requires_grad_()
            out = y.sin() + y.cos() + y.exp()
        return torch.autograd.grad(out, y, grad)[0]


CASES = {
    "slopes of variance and mean": (both(torch.var_mean), 770_048),
    "slopes of deviation and mean": (both(torch.std_mean), 770_560),
    "slopes of variance and mean that meet others": (
        lambda x: torch.mul(*torch.var_mean(x, 1)) + (x * x).sum(1), 1_026_048),
    "a hook": (with_a_hook, 1_025_024),
    "a backward of the program's own": (Added.apply, 769_024),
    "paths that meet within a backward": (Within.apply, 1_281_024),
    "paths that meet": (lambda x: x.sin() + x.cos() + x.exp(), 1_025_024),
    "both factors of a square": (lambda x: x * x, 513_024),
}


@pytest.mark.parametrize(("run", "expected"), CASES.values(), ids=CASES.keys())
def test_peak(run: Callable[[torch.Tensor], torch.Tensor], expected: int) -> None:
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        x = torch.randn(TABLE, device="cuda", requires_grad=True)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run(x).sum().backward()
        assert torch.cuda.max_memory_allocated() - before == expected


def test_gradient_of_the_slope_of_a_convolution() -> None:
    """Its formula adds what comes by the input to what comes by the weight."""
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0, cudnn_workspace="none"):
        x, weight, bias = (
            torch.randn(shape, device="cuda", requires_grad=True) for shape in ((4, 8, 16, 16), (8, 8, 3, 3), (8,)))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        out = functional.conv2d(x, weight, bias).square().sum()
        slope = torch.autograd.grad(out, x, create_graph=True)[0]
        del out
        slope.square().sum().backward()
        assert torch.cuda.max_memory_allocated() - before == 202_752
