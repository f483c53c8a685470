"""The card as a whole: capacity, out of memory, what is put back at the end."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from torch import nn

from memdoctor.foundation.errors import BadInput, UnknownCard
from memdoctor.virtual.cards import find_card
from memdoctor.virtual.gpu import virtual_gpu

GIB = 2**30


def test_counters_follow_blocks_and_views_share_them() -> None:
    with virtual_gpu("24GiB") as gpu:
        first = torch.zeros(100, device="cuda")
        view = first[:10]
        assert (gpu.allocated_bytes, gpu.birth_count, len(gpu.storages)) == (512, 1, 1)
        (record,) = gpu.storages.values()
        assert (record.birth, record.nbytes, record.block_bytes) == (0, 400, 512)
        del first
        assert torch.cuda.memory_allocated() == 512
        del view
        assert torch.cuda.memory_allocated() == 0
        assert torch.cuda.max_memory_allocated() == gpu.max_allocated_bytes == 512
        assert torch.cuda.memory_reserved() == gpu.reserved_bytes == 2 * 2**20


def test_a_size_is_usable_to_the_last_byte_and_a_card_keeps_room_for_its_context() -> None:
    with virtual_gpu("24GiB") as gpu:
        assert gpu.capacity_bytes == 24 * GIB
    with virtual_gpu("a100-40gb") as gpu:
        assert gpu.capacity_bytes == gpu.card.total_bytes - gpu.card.context_bytes
    with virtual_gpu("a100-40gb", capacity_bytes=10 * GIB, context_bytes=GIB) as gpu:
        assert (gpu.capacity_bytes, torch.cuda.mem_get_info()) == (9 * GIB, (9 * GIB, 10 * GIB))


def test_out_of_memory_is_pytorchs_own_error_and_changes_nothing() -> None:
    with virtual_gpu("1GiB") as gpu:
        kept = torch.empty(GIB // 4, dtype=torch.uint8, device="cuda")
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"):
            torch.empty(2 * GIB, dtype=torch.uint8, device="cuda")
        assert gpu.allocated_bytes == kept.nbytes
        assert torch.empty(GIB // 4, dtype=torch.uint8, device="cuda").is_cuda


def test_a_memory_fraction_limits_the_process() -> None:
    with virtual_gpu("1GiB"):
        torch.cuda.set_per_process_memory_fraction(0.5)
        with pytest.raises(torch.OutOfMemoryError, match="512.00 MiB allowed"):
            torch.empty(GIB * 3 // 4, dtype=torch.uint8, device="cuda")
        kept = torch.empty(GIB // 4, dtype=torch.uint8, device="cuda")
        torch.cuda.set_per_process_memory_fraction(0.9)
        assert torch.empty(GIB // 2, dtype=torch.uint8, device="cuda").is_cuda and kept.is_cuda
        torch.cuda.set_per_process_memory_fraction(0.1)
        torch.cuda.empty_cache()  # what is reserved already may be used on
        with pytest.raises(torch.OutOfMemoryError, match="102.40 MiB allowed"):
            torch.empty(GIB // 8, dtype=torch.uint8, device="cuda")


def test_operands_of_a_failed_operator_die_with_the_frames_that_held_them() -> None:
    """A retry inside `except` has the same memory as on a card: no frame of memdoctor keeps an operand."""
    with virtual_gpu("1GiB") as gpu:
        try:
            torch.empty(GIB // 4, dtype=torch.uint8, device="cuda").to(torch.float64)
        except torch.OutOfMemoryError as error:
            assert gpu.allocated_bytes == 0
            files = _files_of(error.__traceback__)
        assert set(files) == {__file__}


def _files_of(entry) -> list[str]:
    files = []
    while entry is not None:
        files.append(entry.tb_frame.f_code.co_filename)
        entry = entry.tb_next
    return [file for file in files if not file.endswith("device.py")]


def test_finalizers_may_ask_the_allocator_while_it_works() -> None:
    """The collector can run a program's `__del__` in the middle of an allocation: no deadlock, no lost block."""
    class Asks:
        def __init__(self) -> None:
            self.itself = self
            self.held = torch.zeros(100, device="cuda")

        def __del__(self) -> None:
            torch.cuda.empty_cache()
            torch.cuda.memory_allocated()
            self.held = None

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with virtual_gpu("1GiB") as gpu:
            for _ in range(50):
                Asks()
                torch.zeros(1000, device="cuda")
            gc.collect()
            assert gpu.allocated_bytes == 0
    finally:
        gc.set_threshold(*thresholds)


def test_training_survives_out_of_memory_with_a_smaller_batch() -> None:
    model = nn.Linear(1024, 1024)
    with virtual_gpu("256MiB"):
        model.cuda()
        for rows, fits in ((10**5, False), (10**3, True)):
            try:
                model(torch.randn(rows, 1024, device="cuda")).sum().backward()
                assert fits
            except torch.OutOfMemoryError:
                assert not fits


def _state() -> list[object]:
    thread = vars(threading.Thread)["_bootstrap_inner"]
    hooks = torch.autograd.graph.saved_tensors_hooks.__init__
    spaces = (torch.cuda, torch.cuda.memory, torch.cuda.random, torch.backends.cudnn, torch.storage,
              torch.autograd, torch.autograd.graph, torch.serialization, torch.distributions.Distribution,
              *filter(None, [getattr(torch, "accelerator", None)]))
    return [
        thread, hooks, torch.Generator, *(dict(vars(space)) for space in spaces),
        torch.__future__.get_swap_module_params_on_conversion(),
        torch.overrides._get_current_function_mode_stack(),
        torch.utils._python_dispatch._get_current_dispatch_mode_stack(),
        hasattr(torch._C, "_scatter"),
    ]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_everything_is_put_back(error: type[BaseException] | None) -> None:
    before = _state()
    try:
        with virtual_gpu():
            torch.zeros(3).cuda()
            if error is not None:
                raise error("from inside")
    except BaseException as raised:
        assert type(raised) is error
    assert _state() == before
    assert not torch.cuda.is_available()


def test_a_second_virtual_gpu_inside_is_refused_and_the_first_goes_on() -> None:
    with virtual_gpu():
        with pytest.raises(BadInput, match="already in use"), virtual_gpu():
            pass
        assert torch.zeros(3).cuda().is_cuda


def test_an_unknown_card_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UnknownCard, match=r"(?s)'a100-40g'.*a100-40gb.*gpus --catalogue"):
        find_card("a100-40g")


def test_random_numbers_of_the_host_are_those_without_the_card() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    with virtual_gpu():
        torch.manual_seed(5)
        torch.randn(3, device="cuda")
        torch.cuda.manual_seed_all(9)
        torch.randperm(5, device="cuda")
        nn.functional.dropout(torch.ones(3, device="cuda"))
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("options", [{"other_bytes": 25 * GIB}, {"capacity_bytes": GIB // 4}], ids=["others", "small"])
def test_no_card_has_less_than_nothing_free(options: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="CUDA context"), virtual_gpu("rtx4090", **options):
        pass
    with virtual_gpu("rtx4090", **{**options, "other_bytes": 0, "context_bytes": 0}):
        assert torch.cuda.mem_get_info()[0] >= 0
