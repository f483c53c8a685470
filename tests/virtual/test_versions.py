"""What autograd has saved and a program then writes over is refused as on a card: versions rise as CUDA raises them.

The table is what PyTorch 2.12.1's CUDA build answers.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import virtual_gpu

Tensors = list[torch.Tensor]


def tensors() -> Tensors:
    return [torch.ones(4, device="cuda") for _ in range(3)]


RAISED: dict[str, tuple[Callable[[Tensors], object], bool]] = {
    "add a number": (lambda own: torch._foreach_add_(own, 1.0), True),
    "add a list": (lambda own: torch._foreach_add_(own, tensors(), alpha=2), True),
    "multiply by a tensor": (lambda own: torch._foreach_mul_(own, torch.ones((), device="cuda")), True),
    "addcdiv": (lambda own: torch._foreach_addcdiv_(own, tensors(), tensors(), [1.0, 2.0, 3.0]), True),
    "addcmul": (lambda own: torch._foreach_addcmul_(own, tensors(), tensors(), 1.0), True),
    "square root": (torch._foreach_sqrt_, True),
    "copy": (lambda own: torch._foreach_copy_(own, tensors()), True),
    "largest": (lambda own: torch._foreach_maximum_(own, tensors()), True),
    "lerp": (lambda own: torch._foreach_lerp_(own, tensors(), 0.1), False),
    "zeros": (torch._foreach_zero_, False),
    "one tensor": (lambda own: own[0].add_(1), True),
}


@pytest.mark.parametrize("values", ["zeros", "real"])
@pytest.mark.parametrize(("write", "rises"), RAISED.values(), ids=RAISED.keys())
def test_versions_rise_with_each_write(values, write, rises: bool) -> None:
    with virtual_gpu("4GiB", values=values):
        own = tensors()
        for _ in range(2):  # the second call goes by memory
            before = own[0]._version
            write(own)
            assert (own[0]._version > before) is rises


@pytest.mark.parametrize("make", [
    nn.RNNCell, nn.LSTMCell, nn.LSTM, nn.GRU, lambda inputs, width: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))])
def test_a_step_on_weights_that_a_kept_graph_needs_ends_the_next_backward(make) -> None:
    with virtual_gpu("4GiB"):
        model = make(4, 4).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        inputs = torch.randn(3, 4, device="cuda").requires_grad_()
        out = model(inputs)
        loss = (out[0] if isinstance(out, tuple) else out).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        with pytest.raises(RuntimeError, match=r"modified by an inplace operation: \[torch\.cuda\.FloatTensor"):
            loss.backward()
