"""Nodes that a backward makes stand behind those of the program, as where autograd has a thread of its own."""

from __future__ import annotations

import pytest
import torch

from memdoctor.virtual.gpu import virtual_gpu


def test_nodes_of_a_first_backward_run_after_the_programs_own() -> None:
    with virtual_gpu("h100-80gb"):
        x = torch.ones(3, device="cuda", requires_grad=True)
        for _ in range(20):
            y = x.tanh()
        slope = torch.autograd.grad(y.sum(), x, create_graph=True)[0]
        later = x.exp()
        assert slope.grad_fn._sequence_nr() < y.grad_fn._sequence_nr() < later.grad_fn._sequence_nr()


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")  # of the cycle that it makes, which ends here
def test_gradients_left_at_the_leaves_are_placed_too() -> None:
    with virtual_gpu("h100-80gb"):
        x = torch.ones(3, device="cuda", requires_grad=True)
        for _ in range(20):
            y = x.tanh()
        y.sum().backward(create_graph=True)
        assert x.grad.grad_fn._sequence_nr() < y.grad_fn._sequence_nr()


def test_a_backward_without_a_graph_changes_no_numbers() -> None:
    with virtual_gpu("h100-80gb"):
        x = torch.ones(3, device="cuda", requires_grad=True)
        y = x.tanh()
        before = y.grad_fn._sequence_nr()
        y.sum().backward(retain_graph=True)
        assert y.grad_fn._sequence_nr() == before
