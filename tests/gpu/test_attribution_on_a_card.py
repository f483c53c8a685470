"""What a real card shows of its bytes without a dispatch mode: what the models own, and the rest."""

from __future__ import annotations

import pytest
import torch

import memdoctor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a real NVIDIA card"),
]


def test_the_peak_is_what_the_model_owns_and_the_rest() -> None:
    with memdoctor.profile() as prof:
        model = torch.nn.Linear(1024, 1024, bias=False).cuda()
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(256, 1024, device="cuda")).sum().backward()
            optimizer.step()
    breakdown = prof.report.peak_breakdown
    assert breakdown is not None and sum(breakdown.category_bytes.values()) == breakdown.allocated_bytes
    assert breakdown.category_bytes["parameters"] == breakdown.category_bytes["gradients"] == 4 * 2**20
    assert breakdown.category_bytes["optimizer state"] >= 8 * 2**20


def test_a_crash_is_read_from_the_error_with_the_line_of_the_program() -> None:
    prof = memdoctor.profile()
    with pytest.raises(torch.OutOfMemoryError), prof:
        torch.empty(2**46, dtype=torch.uint8, device="cuda")
    assert prof.report.cause is not None and prof.report.cause.kind == "too big at one moment"
    assert prof.report.crash is not None and prof.report.crash.request_bytes == 2**46
    assert prof.report.crash.call is not None and prof.report.crash.call.path.endswith("test_attribution_on_a_card.py")
