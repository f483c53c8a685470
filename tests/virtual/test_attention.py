"""Which attention kernel a card takes, as PyTorch 2.12.1's CUDA build chose it, and what it saves."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from memdoctor.virtual.attention import attention_backend
from memdoctor.virtual.cards import find_card
from memdoctor.virtual.gpu import virtual_gpu

HALF, BFLOAT, FLOAT = torch.float16, torch.bfloat16, torch.float32
TAKES_CUDNN = getattr(torch.backends.cuda, "cudnn_sdp_enabled", lambda: False)()
WITHOUT_CUDNN = "this PyTorch does not take cuDNN's attention by itself"
CASES = ("plain", "dropout", "mask", "size 80", "size 256", "size 20", "grouped")
CHOICES = [
    ("t4", FLOAT, ("efficient",) * 6 + ("math",)),
    ("t4", HALF, ("efficient",) * 5 + ("math", "math")),
    ("t4", BFLOAT, ("math",) * 7),
    ("a100-40gb", FLOAT, ("efficient",) * 6 + ("math",)),
    ("a100-40gb", HALF, ("flash", "flash", "efficient", "flash", "flash", "flash", "flash")),
    ("rtx4090", BFLOAT, ("flash", "flash", "efficient", "flash", "flash", "flash", "flash")),
    ("h100-80gb", FLOAT, ("efficient",) * 6 + ("math",)),
    ("h100-80gb", BFLOAT, ("cudnn", "flash", "cudnn", "cudnn", "cudnn", "flash", "cudnn")),
    ("b200", HALF, ("cudnn", "flash", "cudnn", "cudnn", "flash", "flash", "cudnn")),
    ("rtx5090", BFLOAT, ("flash", "flash", "efficient", "flash", "flash", "flash", "flash")),
]


@pytest.mark.parametrize(
    ("card", "dtype", "case", "expected"),
    [
        pytest.param(card, dtype, case, backend, id=f"{card}, {str(dtype)[6:]}, {case}")
        for card, dtype, backends in CHOICES
        for case, backend in zip(CASES, backends)
    ],
)
def test_the_backend_is_the_one_that_cuda_takes(card: str, dtype: torch.dtype, case: str, expected: str) -> None:
    if expected == "cudnn" and not TAKES_CUDNN:
        pytest.skip(WITHOUT_CUDNN)
    size = int(case.split()[1]) if case.startswith("size") else 64
    query = torch.empty(2, 8, 128, size, dtype=dtype, device="meta")
    key = query[:, :2] if case == "grouped" else query
    mask = torch.empty(128, 128, dtype=dtype, device="meta") if case == "mask" else None
    assert attention_backend(
        find_card(card), query, key, key, mask, 0.1 if case == "dropout" else 0.0) == expected


def test_switching_backends_off_is_heard() -> None:
    query = torch.empty(2, 8, 128, 64, dtype=HALF, device="meta")
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert attention_backend(find_card("a100-40gb"), query, query, query, None, 0.0) == "math"


@pytest.mark.parametrize("dtype", [HALF, FLOAT], ids=str)
def test_values_may_be_wider_than_queries(dtype: torch.dtype) -> None:
    """FlashAttention takes one size only."""
    query, value = (torch.empty(2, 4, 16, size, dtype=dtype, device="meta") for size in (32, 64))
    assert attention_backend(find_card("a100-40gb"), query, query, value, None, 0.0) == "efficient"
    with virtual_gpu("a100-40gb"):
        query = torch.randn(2, 4, 16, 32, device="cuda", dtype=dtype, requires_grad=True)
        value = torch.randn(2, 4, 16, 64, device="cuda", dtype=dtype, requires_grad=True)
        out = functional.scaled_dot_product_attention(query, query, value)
        out.sum().backward()
        assert out.shape == (2, 4, 16, 64) and value.grad.shape == value.shape and query.grad.shape == query.shape


@pytest.mark.parametrize("card", ["t4", "a100-40gb", "h100-80gb"])
@pytest.mark.parametrize("dtype", [HALF, FLOAT], ids=str)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.1}, {"mask": True}], ids=str)
def test_attention_runs_both_ways_and_leaves_nothing_behind(card: str, dtype: torch.dtype, options: dict) -> None:
    with virtual_gpu(card) as gpu:
        query = torch.randn(2, 4, 100, 64, device="cuda", dtype=dtype, requires_grad=True)
        mask = torch.ones(100, 100, dtype=torch.bool, device="cuda") if "mask" in options else None
        options = {name: value for name, value in options.items() if name != "mask"}
        functional.scaled_dot_product_attention(query, query, query, mask, **options).sum().backward()
        assert query.grad.shape == query.shape and query.grad.dtype == dtype
        del mask, query
        alive = {record.nbytes for record in gpu.storages.values()}
        assert alive == set()


def test_scores_are_kept_only_by_plain_attention() -> None:
    """Fused kernels keep no scores of queries x keys; math keeps them for backward."""
    with virtual_gpu("a100-40gb") as gpu:
        kept = {}
        for backend in (torch.nn.attention.SDPBackend.FLASH_ATTENTION, torch.nn.attention.SDPBackend.MATH):
            query = torch.randn(1, 1, 1024, 64, device="cuda", dtype=HALF, requires_grad=True)
            before = gpu.allocated_bytes
            with torch.nn.attention.sdpa_kernel(backend):
                out = functional.scaled_dot_product_attention(query, query, query)
            kept[backend.name] = gpu.allocated_bytes - before
            del out, query
        scores_bytes = 1024 * 1024 * 4
        assert kept["FLASH_ATTENTION"] < scores_bytes / 8
        assert kept["MATH"] > scores_bytes


@pytest.mark.parametrize(
    ("keys", "row_bytes"),
    [
        pytest.param(200, 0, id="rows that begin at multiples of eight are taken as they are"),
        pytest.param(100, 4 * 104, id="others are padded to eight"),
    ],
)
def test_the_memory_efficient_kernel_pads_its_mask(keys: int, row_bytes: int) -> None:
    with virtual_gpu("a100-40gb") as gpu:
        query = torch.randn(2, 4, 64, 64, device="cuda", requires_grad=True)
        key = torch.randn(2, 4, keys, 64, device="cuda")
        mask = torch.zeros(2, 1, 64, keys, device="cuda")
        before = {record.birth for record in gpu.storages.values()}
        out = functional.scaled_dot_product_attention(query, key, key, mask)
        kept = [record.nbytes for record in gpu.storages.values() if record.birth not in before]
        padded = [2 * 64 * row_bytes] if row_bytes else []
        assert sorted(kept) == sorted([out.nbytes, 4 * 2 * 4 * 64, *padded])


@pytest.mark.skipif(not TAKES_CUDNN, reason=WITHOUT_CUDNN)
def test_inference_mode_takes_the_same_kernel() -> None:
    """Operators arrive whole there, and must not fall apart into plain attention."""
    with virtual_gpu("h100-80gb") as gpu, torch.inference_mode():
        query = torch.randn(8, 12, 128, 64, device="cuda", dtype=HALF)
        before = gpu.allocated_bytes
        torch.cuda.reset_peak_memory_stats()
        out = functional.scaled_dot_product_attention(query, query, query)
        assert gpu.max_allocated_bytes - before < out.nbytes + 4096
