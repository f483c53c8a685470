"""What a card refuses is refused, in the words that people look for."""

from __future__ import annotations

import contextlib
import gc
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


def card(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, device="cuda")


def words(*shape: int, channels: int) -> str:
    return f"expected input{list(shape)} to have {channels} channels, but got {shape[1]} channels instead"


WORDS = {
    "matrix product": (lambda: card(3, 4) @ card(3, 4), "mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)"),
    "linear": (lambda: nn.Linear(3, 2).cuda()(card(3, 4)), "mat1 and mat2 shapes cannot be multiplied (3x4 and 3x2)"),
    "sum": (lambda: card(3, 4) + card(3, 5),
            "The size of tensor a (4) must match the size of tensor b (5) at non-singleton dimension 1"),
    "in place": (lambda: card(3).add_(card(2, 3)),
                 "output with shape [3] doesn't match the broadcast shape [2, 3]"),
    "cat": (lambda: torch.cat([card(3, 4), card(3, 5)]),
            "Sizes of tensors must match except in dimension 0. Expected size 4 but got size 5 for tensor number 1"),
    "channels": (lambda: nn.Conv2d(3, 3, 1).cuda()(card(1, 4, 2, 2)), words(1, 4, 2, 2, channels=3)),
    "channels back": (lambda: nn.ConvTranspose2d(3, 3, 1).cuda()(card(1, 4, 2, 2)), words(1, 4, 2, 2, channels=3)),
    "bias": (lambda: functional.conv2d(card(1, 3, 4, 4), card(2, 3, 1, 1), card(3)),
             "expected bias to be 1-dimensional with 2 elements, but got bias of size [3] instead"),
    "normalized shape": (lambda: functional.layer_norm(card(3, 4), (5,)), "but got input of size[3, 4]"),
    "precision": (lambda: functional.linear(card(3, 4).half(), card(2, 4)),
                  "expected mat1 and mat2 to have the same dtype, but got: c10::Half != float"),
    "precision with bias": (lambda: nn.Linear(4, 2).cuda()(card(3, 4).half()),
                            "mat1 and mat2 must have the same dtype, but got Half and Float"),
    "precision of batches": (lambda: card(2, 3, 4).half() @ card(2, 4, 3), "expected scalar type Half but found Float"),
    "precision of a picture": (
        lambda: functional.conv2d(card(1, 3, 4, 4).half(), card(2, 3, 1, 1)),
        "Input type (torch.cuda.HalfTensor) and weight type (torch.cuda.FloatTensor) should be the same"),
    "picture on the host": (
        lambda: nn.Conv2d(3, 3, 1).cuda()(torch.zeros(1, 3, 2, 2)),
        "got weight is on cuda:0, different from other tensors on cpu"),
    "index on the host": (lambda: card(3).index_add_(0, torch.tensor([0]), card(1)),
                          "but got (self) cuda:0, (index) cpu, and (source) cuda:0"),
    "type of indices": (lambda: nn.Embedding(3, 4).cuda()(card(2)), "but got torch.cuda.FloatTensor instead"),
    "targets": (lambda: functional.cross_entropy(card(3, 4), card(3).int()), "not implemented for 'Int'"),
    "dimensions of targets": (lambda: functional.cross_entropy(card(3, 4), card(3, 2).long()),
                              "0D or 1D target tensor expected, multi-target not supported"),
    "mask": (lambda: card(3, 4)[card(5).bool()],
             "The shape of the mask [5] at index 0 does not match the shape of the indexed tensor [3, 4] at index 0"),
    "mask to write to": (lambda: card(3, 4).__setitem__(card(3, 5).bool(), card(2)), "the mask [3, 5] at index 1"),
    "selected by a matrix": (lambda: card(3).index_select(0, card(2, 2).long()), "Index is supposed to be a vector"),
    "selected by floats": (lambda: card(3).index_select(0, card(2)), "Expected dtype int32 or int64 for index"),
    "dimension of softmax": (lambda: card(3).softmax(3), "Dimension out of range (expected to be in range of [-1, 0]"),
    "softmax of integers": (lambda: card(3).long().softmax(0), "\"host_softmax\" not implemented for 'Long'"),
    "lengths": (lambda: nn.utils.rnn.pack_padded_sequence(card(3, 2, 4), torch.tensor([3, 0])),
                "Length of all samples has to be greater than 0"),
}


def _looks_at_indices() -> bool:
    """Newer PyTorch's meta kernels refuse an index that is not on their device."""
    rows = torch.empty(3, device="meta")
    with contextlib.suppress(RuntimeError):
        rows.index_add_(0, torch.tensor([0]), rows[:1])
        return False
    return True


ABOUT_INDICES = ("index on the host", "type of indices")


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


@pytest.mark.parametrize(("call", "text"), [
    pytest.param(*words, id=name, marks=pytest.mark.skipif(
        name in ABOUT_INDICES and not _looks_at_indices(), reason="this PyTorch's meta kernels take any index"))
    for name, words in WORDS.items()
])
def test_errors_read_as_on_a_card_each_time(gpu: VirtualGPU, call, text: str) -> None:
    for _ in range(2):
        with pytest.raises((RuntimeError, IndexError), match=re.escape(text)) as raised:
            call()
        assert "meta" not in str(raised.value)


def test_an_error_leaves_nothing_on_the_card(gpu: VirtualGPU) -> None:
    left, right = card(300, 400), card(300, 400)
    before = gpu.allocated_bytes
    with pytest.raises(RuntimeError):
        left @ right
    assert gpu.allocated_bytes == before


def test_an_error_that_was_handled_keeps_no_operand() -> None:
    """As on a card; the collector, which would free a circle later, is not needed."""
    gc.disable()
    try:
        with virtual_gpu("4GiB") as gpu:
            with contextlib.suppress(RuntimeError):
                card(300, 400) @ card(300, 400)
            assert gpu.allocated_bytes == 0
    finally:
        gc.enable()


def test_a_saved_tensor_that_was_written_to_is_named_by_its_type_on_the_card(gpu: VirtualGPU) -> None:
    grown = card(2).requires_grad_().exp()
    grown.add_(1)
    with pytest.raises(RuntimeError, match=re.escape("[torch.cuda.FloatTensor [2]], which is output 0 of Exp")):
        grown.sum().backward()


def test_autocast_refuses_binary_cross_entropy(gpu: VirtualGPU) -> None:
    with torch.autocast("cuda"), pytest.raises(RuntimeError, match="are unsafe to autocast"):
        functional.binary_cross_entropy(card(2), card(2))


def test_what_is_asked_of_huge_operands_is_not_computed() -> None:
    """They would take 80 GB of the host; the words are then those of the meta kernel."""
    with virtual_gpu("1024TiB"), pytest.raises(RuntimeError, match="100000[01]"):
        torch.empty(10_000, 1_000_000, device="cuda") + torch.empty(10_000, 1_000_001, device="cuda")
