"""Where the bytes of a virtual card are: exact sums, forward lines for gradients, and nothing left behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import memdoctor
from memdoctor.foundation.breakdown import Breakdown, Crash
from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

WIDTH, BATCH = 1024, 512
WEIGHT = 4 * WIDTH * WIDTH
"""Bytes of one layer without its bias."""


@pytest.fixture(autouse=True)
def no_hook_is_left() -> Iterator[None]:
    yield
    assert not module_hooks._global_forward_pre_hooks and not module_hooks._global_forward_hooks
    assert not optimizer_hooks._global_optimizer_pre_hooks and not optimizer_hooks._global_optimizer_post_hooks


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).square()
        return x


def train(steps: int = 3, kind: type[torch.optim.Optimizer] = torch.optim.Adam) -> None:
    model = Net().cuda()
    optimizer = kind(model.parameters())  # type: ignore[call-arg]  # both kinds have a default rate
    for _ in range(steps):
        x = torch.randn(BATCH, WIDTH).cuda()
        loss = model(x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def line_of(function: Callable[..., object], statement: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, text in enumerate(lines) if statement in text)


def peak_of(work: Callable[[], object]) -> tuple[Breakdown, VirtualGPU]:
    with virtual_gpu("24GiB") as gpu, memdoctor.profile() as prof:
        work()
        gpu_peak = gpu.max_allocated_bytes
    breakdown = prof.report.peak_breakdown
    assert breakdown is not None and breakdown.allocated_bytes == gpu_peak
    return breakdown, gpu


def crash_of(work: Callable[[], object], card: str) -> Crash:
    prof = memdoctor.profile()
    with virtual_gpu(card), pytest.raises(torch.OutOfMemoryError), prof:
        work()
    assert prof.report.crash is not None
    return prof.report.crash


def test_the_categories_of_a_training_loop_by_hand() -> None:
    """The peak is in the step: Adam has two states, and its foreach temporaries are as large as the gradients."""
    sizes = peak_of(train)[0].category_bytes
    assert sum(sizes.values()) == peak_of(train)[0].allocated_bytes
    assert sizes["parameters"] == 3 * WEIGHT
    assert sizes["gradients"] == 3 * WEIGHT
    assert sizes["optimizer state"] - 2 * 3 * WEIGHT in (0, 3 * 4)  # steps counted on the card, or not
    assert sizes["inputs and data"] == 4 * BATCH * WIDTH


def test_gradients_that_nobody_zeroed_are_gradients_at_a_peak_in_the_forward_pass() -> None:
    """SGD has no state: from the second iteration on, the peak has the last gradients beside all activations."""
    def work() -> None:
        model = Net().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            loss = model(torch.randn(BATCH // 4, WIDTH).cuda()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    assert peak_of(work)[0].category_bytes["gradients"] == 3 * WEIGHT


def test_modules_have_the_paths_that_a_user_would_write() -> None:
    breakdown, _ = peak_of(train)
    sizes = {module.path: module for module in breakdown.modules}
    assert {"Net", "Net.layers", "Net.layers.0", "Net.layers.1", "Net.layers.2"} == set(sizes)
    assert sizes["Net"].total_bytes == sizes["Net"].own_bytes + sizes["Net.layers"].total_bytes
    assert sizes["Net.layers"].own_bytes == 0


def test_what_lives_before_the_profile_is_counted_and_not_guessed_at() -> None:
    with virtual_gpu("24GiB"):
        before = torch.empty(2**20, dtype=torch.uint8, device="cuda")
        with memdoctor.profile() as prof:
            torch.empty(2**21, dtype=torch.uint8, device="cuda")
        assert before.is_cuda
    breakdown = prof.report.peak_breakdown
    assert breakdown is not None and breakdown.category_bytes == {"inputs and data": 3 * 2**20}
    assert [row.nbytes for row in breakdown.lines] == [2**21]


def test_a_chosen_iteration_is_broken_down_as_it_ended() -> None:
    """Gradients and both states of Adam stay; of the batch, what variables hold."""
    with virtual_gpu("24GiB"):
        left: list[int] = []
        with memdoctor.profile(at=1) as prof:
            model = Net().cuda()
            optimizer = torch.optim.Adam(model.parameters())
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.randn(BATCH, WIDTH).cuda()).sum().backward()
                optimizer.step()
                left.append(torch.cuda.memory_allocated())
    chosen = prof.report.iteration_breakdown
    assert chosen is not None and chosen.step == 1
    assert chosen.breakdown.allocated_bytes == left[1] == sum(chosen.breakdown.category_bytes.values())
    assert {"parameters", "gradients", "optimizer state"} <= set(chosen.breakdown.category_bytes)
    assert "activations" not in chosen.breakdown.category_bytes
    assert "after iteration 1:" in str(prof)


def test_an_iteration_that_never_came_is_told() -> None:
    with virtual_gpu("24GiB"), memdoctor.profile(at=7) as prof:
        train()
    assert prof.report.iteration_breakdown is None
    assert any(skipped.what == "the bytes after iteration 7" for skipped in prof.report.skipped)


def test_a_program_on_the_host_has_no_breakdown() -> None:
    with memdoctor.profile() as prof:
        nn.Linear(4, 4)(torch.zeros(1, 4))
    assert prof.report.peak_breakdown is None


def test_what_no_tensor_owns_is_a_workspace() -> None:
    """A matrix product on a card of this size takes a workspace of cuBLAS, once: 8,519,680 bytes."""
    def work() -> None:
        x = torch.randn(WIDTH, WIDTH).cuda()
        x @ x

    assert peak_of(work)[0].category_bytes == {
        "workspaces": 8_519_680, "inputs and data": WEIGHT, "other tensors": WEIGHT,
    }


def test_a_crash_in_backward_names_the_forward_line_its_module_and_the_call() -> None:
    """What is left is less than the gradient of one layer's output, 64 MiB."""
    def work() -> None:
        out = Net().cuda()(torch.randn(32 * BATCH, WIDTH, device="cuda"))
        free = torch.cuda.mem_get_info()[0]
        ballast = torch.empty(free - 2**26, dtype=torch.uint8, device="cuda")
        out.sum().backward()
        assert ballast.is_cuda

    crash = crash_of(work, "1GiB")
    assert crash.mark.phase == "backward" and crash.mark.module in ("Net", "Net.layers.2")
    assert crash.mark.location is not None and crash.call is not None
    assert crash.mark.location.line == line_of(Net, "x = layer(x).square()")
    assert crash.call.line == line_of(work, "out.sum().backward()")


def test_a_crash_in_the_first_step_knows_gradients_and_the_states_so_far() -> None:
    crash = crash_of(lambda: train(1), "76MiB")
    assert crash.mark.phase == "optimizer step" and crash.breakdown is not None
    assert crash.breakdown.category_bytes["gradients"] == 3 * WEIGHT


def test_a_crash_while_a_model_is_moved_is_about_parameters() -> None:
    crash = crash_of(lambda: nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(20)).cuda(), "64MiB")
    assert crash.breakdown is not None
    assert next(iter(crash.breakdown.category_bytes)) == "parameters"


def test_recomputed_activations_belong_to_the_module_that_is_recomputed() -> None:
    def work() -> None:
        model = Net().cuda()
        x = torch.randn(32 * BATCH, WIDTH, device="cuda", requires_grad=True)
        torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).sum().backward()

    breakdown, _ = peak_of(work)
    assert max(module.activation_bytes for module in breakdown.modules) >= 2 * 4 * 32 * BATCH * WIDTH


def test_a_step_that_failed_does_not_mark_what_comes_after_it() -> None:
    def work() -> None:
        model = Net().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        model(torch.randn(32 * BATCH, WIDTH).cuda())

    assert peak_of(work)[0].category_bytes["activations"] >= 3 * 4 * 32 * BATCH * WIDTH


def test_the_exception_is_the_users_and_no_frame_of_memdoctor_is_in_it() -> None:
    prof = memdoctor.profile()
    with virtual_gpu("1GiB"), pytest.raises(torch.OutOfMemoryError) as raised, prof:
        torch.empty(2**31, dtype=torch.uint8, device="cuda")
    assert raised.value.__context__ is None and raised.value.__cause__ is None
    assert not [entry for entry in raised.traceback if "sensing" in str(entry.path)]
    assert prof.report.crash is not None and prof.report.crash.request_bytes == 2**31


def test_an_error_of_a_card_that_was_not_watched_is_read_from_its_text() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB is "
        "free. Including non-PyTorch memory, this process has 7.00 GiB memory in use. Of the allocated memory 6.00 GiB "
        "is allocated by PyTorch, and 0.50 GiB is reserved by PyTorch but unallocated."
    )
    prof = memdoctor.profile()
    with pytest.raises(torch.OutOfMemoryError), prof:
        raise torch.OutOfMemoryError(text)
    crash = prof.report.crash
    assert crash is not None and crash.call is not None and crash.breakdown is not None
    assert (crash.request_bytes, crash.stranded_bytes) == (2 * 2**30, 2**29)
    assert crash.call.line == line_of(
        test_an_error_of_a_card_that_was_not_watched_is_read_from_its_text, "raise torch.OutOfMemoryError(text)"
    )
    assert crash.breakdown.category_bytes == {"activations and other": 6 * 2**30}


def test_a_fault_of_the_observer_is_told_and_the_program_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memdoctor.sensing.sites.Sites.tag", lambda *args: 1 / 0)
    with virtual_gpu("24GiB"), memdoctor.profile() as prof:
        train()
    assert prof.report.peak_breakdown is not None
    whys = {skipped.what: skipped.why for skipped in prof.report.skipped}
    assert whys["where some bytes were allocated"] == "memdoctor failed: ZeroDivisionError('division by zero')"


def test_a_recorded_crash_reads_as_it_was_reported(tmp_path: Path) -> None:
    prof = memdoctor.profile(output=tmp_path / "run.mdoc")
    with virtual_gpu("64MiB"), pytest.raises(torch.OutOfMemoryError), prof:
        train()
    assert memdoctor.read_run(tmp_path / "run.mdoc") == prof.report
    assert prof.report.crash is not None and prof.report.peak_breakdown is not None
    assert (tmp_path / "run.mdoc").stat().st_size < 50_000
