"""CUDA's autocast lists on the virtual card: what is cast, to what, and what is remembered."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

HALF, FLOAT, BFLOAT = torch.float16, torch.float32, torch.bfloat16


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


RESULTS = {
    "matrix product": (lambda x: x @ x, HALF),
    "linear": (lambda x: functional.linear(x, x), HALF),
    "convolution": (lambda x: functional.conv2d(x[None, None], x[None, None, :3, :3]), HALF),
    "attention": (lambda x: functional.scaled_dot_product_attention(*[x[None, None]] * 3), HALF),
    "softmax": (lambda x: x.half().softmax(0), FLOAT),
    "sum": (lambda x: x.half().sum(), FLOAT),
    "exponential": (lambda x: x.half().exp(), FLOAT),
    "layer norm": (lambda x: functional.layer_norm(x.half(), (8,)), FLOAT),
    "widest of two": (lambda x: torch.addcmul(x, x.half(), x.half()), FLOAT),
    "element by element": (lambda x: x.half() + x.half(), HALF),
    "not cast on CUDA": (lambda x: torch.cat([x.half(), x.half()]), HALF),
    "double stays": (lambda x: x.double() @ x.double(), torch.float64),
    "whole numbers stay": (lambda x: (x > 0).sum(), torch.int64),
    "cross entropy": (lambda x: functional.cross_entropy(x.half(), torch.arange(8, device="cuda")), FLOAT),
}


@pytest.mark.parametrize(("call", "expected"), RESULTS.values(), ids=RESULTS.keys())
def test_results_have_the_type_that_cuda_gives(gpu: VirtualGPU, call, expected: torch.dtype) -> None:
    with torch.autocast("cuda", dtype=HALF):
        assert call(torch.randn(8, 8, device="cuda")).dtype is expected


def test_the_type_that_was_asked_for_is_used(gpu: VirtualGPU) -> None:
    x = torch.randn(8, 8, device="cuda")
    with torch.autocast("cuda", dtype=BFLOAT):
        assert (x @ x).dtype is BFLOAT
        with torch.autocast("cuda", enabled=False):
            assert (x @ x).dtype is FLOAT
    assert (x @ x).dtype is FLOAT


def test_host_tensors_are_left_alone(gpu: VirtualGPU) -> None:
    x = torch.randn(8, 8)
    with torch.autocast("cuda", dtype=HALF):
        assert (x @ x).dtype is FLOAT


def test_a_weight_is_cast_once_and_forgotten_at_the_end(gpu: VirtualGPU) -> None:
    layer, x = nn.Linear(1024, 1024, bias=False).cuda(), torch.randn(1, 1024, device="cuda")
    with torch.autocast("cuda", dtype=HALF), torch.no_grad():
        layer.weight.requires_grad_(True)
        layer(x)
        births = gpu.birth_count
        layer(x)
        assert gpu.birth_count - births == 2
        held = gpu.allocated_bytes
    assert held - gpu.allocated_bytes == layer.weight.nbytes // 2


def test_gradients_come_back_in_the_weights_type(gpu: VirtualGPU) -> None:
    layer = nn.Linear(8, 8).cuda()
    with torch.autocast("cuda", dtype=HALF):
        loss = layer(torch.randn(2, 8, device="cuda")).sum()
    loss.backward()
    assert layer.weight.grad.dtype is FLOAT


def test_nothing_is_cast_after_the_card_is_gone() -> None:
    with virtual_gpu(), torch.autocast("cuda", dtype=HALF):
        pass
    x = torch.empty(4, 4, device="meta")
    assert (x @ x).dtype is FLOAT
