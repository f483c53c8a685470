"""Which errors mean that the card is full; libraries say it in many ways, some of which look like bugs.

The type is asked first, by name, so that nothing imports torch. The texts are of PyTorch 0.1.9 to 2.13, cuDNN, cuBLAS,
cuFFT and NCCL. Left out on purpose is what only often means memory: `CUDNN_STATUS_NOT_INITIALIZED`,
`CUBLAS_STATUS_NOT_INITIALIZED` and `CUFFT_INTERNAL_ERROR` also come from broken installations and wrong indices, and
host memory, which a smaller batch on the card does not help.
"""

from __future__ import annotations

import re

FULL_CARD = (
    r"(CUDA|HIP|XPU|MPS backend) out of memory",
    r"cuda runtime error \(2\) : out of memory",  # torch 0.1.9 to 0.4
    r"would exceed allowed memory\. \(out of memory\)",  # backend:cudaMallocAsync
    r"CUDA (driver )?error: out of memory",  # calls outside the caching allocator
    r"NVML_SUCCESS == .* INTERNAL ASSERT FAILED",  # the report of an out-of-memory error failed in NVML
    r"CUDNN_STATUS_ALLOC_FAILED",
    r"Unable to find a valid cuDNN algorithm to run convolution",  # each one's workspace was refused
    r"CUBLAS_STATUS_ALLOC_FAILED",
    r"CUFFT_ALLOC_FAILED",
    r"Cuda failure.*'out of memory'",  # NCCL
)
"""Regular expressions, searched for anywhere in the text of an error."""

_GARBAGE_SIZE = "Tried to allocate more than 1EB memory"
"""An overflowed shape or a failed collective: no card and no batch size would hold it, whatever type it comes with."""


def is_out_of_memory(error: BaseException) -> bool:
    """True if the card was full; False for host memory, for sizes that cannot be meant, and for everything else."""
    text = text_of(error)
    if _GARBAGE_SIZE in text:
        return False
    return _is_torch_type(error) or (isinstance(error, RuntimeError) and _says_full(text))


def text_of(error: BaseException | None) -> str:
    """What the error says, of any class of the user's: `__str__` may raise."""
    try:
        return str(error)
    except Exception:
        return ""


def _says_full(text: str) -> bool:
    return any(re.search(wording, text) for wording in FULL_CARD)


def _is_torch_type(error: BaseException) -> bool:
    return any(
        kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] == "torch"
        for kind in type(error).__mro__
    )
