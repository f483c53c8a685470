"""The walk of a graph: what backward would need, without running anything of the user's."""

from __future__ import annotations

import pytest
import torch

from memdoctor.sensing.graphs import MAX_DEPTH, GraphWalk, Held
from memdoctor.sensing.packing import SAYS_WHAT_IS_PACKED, PackingCalls


def sizes(held: Held) -> list[int]:
    return sorted(each.numel() for each in held.objects if isinstance(each, torch.Tensor))


def test_saved_tensors_are_handed_out() -> None:
    """`exp` saves its result of 6 elements, `prod` its input and its result."""
    x = torch.ones(6, requires_grad=True)
    held = GraphWalk().walk(x.exp().prod().grad_fn)
    assert sizes(held) == [1, 6, 6]
    assert held.nodes == 3


def test_after_backward_only_the_nodes_are_left() -> None:
    y = torch.ones(6, requires_grad=True).exp().prod()
    y.backward()
    held = GraphWalk().walk(y.grad_fn)
    assert (sizes(held), held.nodes) == ([], 3)


def test_a_node_that_two_graphs_share_is_met_once() -> None:
    x = torch.ones(4, requires_grad=True).exp()
    walk = GraphWalk()
    assert walk.walk((x * 2).grad_fn).nodes == 3
    assert walk.walk((x * 3).grad_fn).nodes == 1


def test_packed_tensors_are_handed_out_as_they_are_and_no_hook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyTorch cannot say what is packed, nothing is handed out."""
    monkeypatch.setattr(PackingCalls, "were_seen", False)
    unpacked, calls = [], PackingCalls()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: ("packed", tensor.shape), unpacked.append):
        y = torch.ones(4, requires_grad=True).exp()
    calls.remove()
    found = GraphWalk().walk(y.grad_fn).objects
    assert found == ([("packed", torch.Size([4]))] if SAYS_WHAT_IS_PACKED else [])
    assert unpacked == []


def test_of_a_deep_chain_only_the_head_is_seen() -> None:
    """Seeing all of it would overflow the stack when the program lets go of it, which this test does at its end."""
    x = torch.ones(1, requires_grad=True)
    for _ in range(50_000):
        x = -(-x)
    walk = GraphWalk()
    assert walk.walk(x.grad_fn).nodes == MAX_DEPTH + 1
    assert not walk.complete


def test_the_budget_ends_a_walk_and_says_so() -> None:
    walk = GraphWalk(max_nodes=2)
    walk.walk(torch.ones(1, requires_grad=True).exp().exp().grad_fn)
    assert not walk.complete
