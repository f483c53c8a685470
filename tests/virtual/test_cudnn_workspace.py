"""The model of cuDNN's workspace: copies of three tensors in the backward of convolutions on tensor cores."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import virtual_gpu

IMAGE_BYTES = 16 * 64 * 128 * 128 * 4
"""Of the input, and of the output; the weight is small beside them."""


def _peak_bytes(
    workspace: str, card: str = "a100-40gb", groups: int = 1, layout: torch.memory_format = torch.contiguous_format,
) -> int:
    with virtual_gpu(card, cudnn_workspace=workspace):
        layer = nn.Conv2d(64, 64, 3, padding=1, groups=groups, bias=False).cuda().to(memory_format=layout)
        image = torch.randn(16, 64, 128, 128, device="cuda").contiguous(memory_format=layout).requires_grad_()
        layer(image).sum().backward()
        return torch.cuda.max_memory_allocated()


def test_backward_holds_copies_of_input_and_output_for_a_moment() -> None:
    more = _peak_bytes("model") - _peak_bytes("none")
    assert 2 * IMAGE_BYTES <= more < 2.1 * IMAGE_BYTES


@pytest.mark.parametrize("options", [
    pytest.param({"layout": torch.channels_last}, id="tensors that lie as the kernels read them"),
    pytest.param({"groups": 64}, id="depthwise convolutions"),
    pytest.param({"card": "v100-16gb"}, id="float32 before Ampere"),
])
def test_nothing_is_added_for(options: dict) -> None:
    assert _peak_bytes("model", **options) == _peak_bytes("none", **options)


def test_a_workspace_that_does_not_fit_is_done_without() -> None:
    with virtual_gpu("a100-40gb", context_bytes=0, capacity_bytes=3 * IMAGE_BYTES + (80 << 20)) as gpu:
        layer = nn.Conv2d(64, 64, 3, padding=1, bias=False).cuda()
        image = torch.randn(16, 64, 128, 128, device="cuda", requires_grad=True)
        layer(image).sum().backward()
        counts = torch.cuda.memory_stats()
    assert 3 * IMAGE_BYTES < gpu.max_allocated_bytes < 4 * IMAGE_BYTES
    assert (counts["num_ooms"], counts["num_alloc_retries"]) == (0, 0), "the program was refused nothing"


def test_a_forecast_does_not_ask_for_a_workspace() -> None:
    """The card need not serve it; so it is not among the requests that a card has to."""
    requests = {}
    for workspace in ("model", "none"):
        with virtual_gpu("a100-40gb", cudnn_workspace=workspace) as gpu:
            gpu.record_requests()
            layer = nn.Conv2d(64, 64, 3, padding=1, bias=False).cuda()
            layer(torch.randn(16, 64, 128, 128, device="cuda", requires_grad=True)).sum().backward()
            requests[workspace] = gpu.requests
    assert requests["model"] == requests["none"]
