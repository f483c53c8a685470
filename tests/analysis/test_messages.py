"""Each text that means a full card, word for word as libraries print it, and those that look alike and do not."""

from __future__ import annotations

import re

import pytest
import torch

from memdoctor.analysis.messages import FULL_CARD, is_out_of_memory

MEANS_FULL = [
    pytest.param(
        "cuda runtime error (2) : out of memory at THC/generic/THCStorage.cu:58",
        id="torch 0.1.9 to 0.4",
    ),
    pytest.param(
        "CUDA out of memory. Tried to allocate 8.13 GiB (GPU 0; 10.76 GiB total capacity; 643.57 MiB already "
        "allocated; 8.20 GiB free; 32.43 MiB cached)",
        id="torch 1.0: cached",
    ),
    pytest.param(
        "CUDA out of memory. Tried to allocate 2.87 GiB (GPU 0; 14.76 GiB total capacity; 8.77 GiB already allocated; "
        "19.75 MiB free; 13.71 GiB reserved in total by PyTorch)",
        id="torch 1.4: reserved in total",
    ),
    pytest.param(
        "CUDA out of memory. Tried to allocate 80.00 MiB. GPU 0 has a total capacty of 79.15 GiB of which 63.25 MiB is "
        "free. Including non-PyTorch memory, this process has 79.08 GiB memory in use.",
        id="torch 2.1: capacty",
    ),
    pytest.param(
        "CUDA out of memory. Allocation was preemptively rejected because it would exceed per_process_memory_fraction "
        "limit. Requested size: ",
        id="torch 2.12: memory fraction",
    ),
    pytest.param(
        "Allocation on device 0 would exceed allowed memory. (out of memory)\nCurrently allocated     : 5.96 GiB",
        id="cudaMallocAsync",
    ),
    pytest.param("CUDA error: out of memory", id="runtime call"),
    pytest.param("CUDA driver error: out of memory", id="driver call, expandable segments"),
    pytest.param(
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp":830, please report a '
        "bug to PyTorch. ",
        id="the report failed in NVML",
    ),
    pytest.param(
        'NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator'
        '.cpp":806, please report a bug to PyTorch. ',
        id="the report failed in NVML, newer",
    ),
    pytest.param(
        "MPS backend out of memory (MPS allocated: 7.43 GB, other allocations: 24.46 GB, max allowed: 32.00 GB).",
        id="Apple",
    ),
    pytest.param("HIP out of memory. Tried to allocate 20.00 MiB.", id="AMD"),
    pytest.param("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", id="cuDNN"),
    pytest.param("Unable to find a valid cuDNN algorithm to run convolution", id="cuDNN without workspace"),
    pytest.param("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", id="cuBLAS handle"),
    pytest.param("cuFFT error: CUFFT_ALLOC_FAILED", id="cuFFT"),
    pytest.param("NCCL WARN Cuda failure 'out of memory'", id="NCCL"),
    pytest.param("Last error:\nCuda failure 2 'out of memory'", id="NCCL with a number"),
]

MEANS_SOMETHING_ELSE = [
    pytest.param("CUDA out of memory. Tried to allocate more than 1EB memory.", id="garbage size"),
    pytest.param(
        "[enforce fail at alloc_cpu.cpp:73] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
        "116813856768 bytes. Error code 12 (Cannot allocate memory)",
        id="host memory",
    ),
    pytest.param("DataLoader worker (pid 75890) is killed by signal: Killed.", id="a worker was killed"),
    pytest.param("CUDA error: device-side assert triggered", id="wrong index"),
    pytest.param("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", id="cuDNN, often a broken installation"),
    pytest.param("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", id="cuBLAS, maybe"),
    pytest.param("CUDA driver error: invalid argument", id="another driver error"),
    pytest.param("out of resource: shared memory, Required: 131072, Hardware limit: 101376.", id="Triton: one kernel"),
    pytest.param("mat1 and mat2 shapes cannot be multiplied (32x784 and 10x10)", id="shapes"),
]


@pytest.mark.parametrize("text", MEANS_FULL)
def test_texts_of_a_full_card(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize("text", MEANS_SOMETHING_ELSE)
def test_texts_that_mean_something_else(text: str) -> None:
    assert not is_out_of_memory(RuntimeError(text))


def test_every_wording_of_the_table_is_needed() -> None:
    """A wording that no example above needs would be a guess."""
    texts = [str(case.values[0]) for case in MEANS_FULL]
    for wording in FULL_CARD:
        others = [other for other in FULL_CARD if other != wording]
        assert any(re.search(wording, text) and not any(re.search(o, text) for o in others) for text in texts), wording


def test_the_type_decides_where_the_text_was_cut_off() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("Allocation on device "))


def test_the_type_does_not_make_a_garbage_size_a_full_card() -> None:
    assert not is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than 1EB memory."))


def test_an_error_that_only_quotes_the_text_is_not_one() -> None:
    """A KeyError or an AssertionError about such a text is a bug of the program, not a full card."""
    assert not is_out_of_memory(AssertionError("expected 'CUDA out of memory'"))
