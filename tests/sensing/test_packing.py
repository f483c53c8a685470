"""Hooks on saved tensors are seen where PyTorch cannot say what they packed, and nothing stays replaced."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import save_on_cpu

from memdoctor.sensing import packing
from memdoctor.sensing.graphs import GraphWalk
from memdoctor.sensing.packing import PackingCalls


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SAYS_WHAT_IS_PACKED", False)
    monkeypatch.setattr(PackingCalls, "were_seen", False)


@pytest.mark.usefixtures("old")
def test_hooks_are_seen_and_still_pack() -> None:
    before = torch._C._autograd._push_saved_tensors_default_hooks
    calls = PackingCalls()
    try:
        x = torch.ones(4, requires_grad=True)
        with save_on_cpu():
            y = x.exp()
        assert PackingCalls.were_seen
    finally:
        calls.remove()
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y.detach())
    assert torch._C._autograd._push_saved_tensors_default_hooks is before


@pytest.mark.usefixtures("old")
def test_a_program_without_hooks_is_not_held_for_one_with() -> None:
    calls = PackingCalls()
    torch.ones(4, requires_grad=True).exp().sum().backward()
    calls.remove()
    assert not PackingCalls.were_seen


def test_pytorch_that_says_what_is_packed_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SAYS_WHAT_IS_PACKED", True)
    before = torch._C._autograd._push_saved_tensors_default_hooks
    calls = PackingCalls()
    assert torch._C._autograd._push_saved_tensors_default_hooks is before
    calls.remove()


@pytest.mark.usefixtures("old")
def test_without_hooks_saved_tensors_are_read() -> None:
    y = torch.ones(4, requires_grad=True).exp()
    assert [each.shape for each in GraphWalk().walk(y.grad_fn).objects] == [torch.Size([4])]
