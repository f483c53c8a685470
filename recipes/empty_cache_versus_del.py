"""What `del` frees, and what `torch.cuda.empty_cache()` returns: a reading after each step.

`del` removes a name. The memory is free when the last name is gone, a view's included; PyTorch then keeps it in its
cache for the next tensor. `empty_cache()` returns cached memory to the driver, for other processes; it frees no tensor.
"""

from __future__ import annotations

import psutil
import torch

ELEMENTS = 64 * 2**20 // 4
"""64 MiB of float32."""


def print_reading(step: str) -> None:
    if torch.cuda.is_available():
        allocated, reserved = torch.cuda.memory_allocated() // 2**20, torch.cuda.memory_reserved() // 2**20
        print(f"{step:36} tensors {allocated:3} MiB, with the cache {reserved:3} MiB")
    else:
        print(f"{step:36} process {psutil.Process().memory_info().rss // 2**20} MiB")


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print_reading("at the start")
    first = torch.ones(ELEMENTS, device=device)
    second = torch.ones(ELEMENTS, device=device)
    print_reading("two tensors of 64 MiB")

    torch.cuda.empty_cache()
    print_reading("empty_cache() with both alive")

    view = first[:1]
    del first
    print_reading("del first, which has a view")

    del view
    print_reading("del view")

    third = torch.ones(ELEMENTS, device=device)
    print_reading("a third tensor takes the free memory")

    del third, second
    print_reading("del third, second")

    torch.cuda.empty_cache()
    print_reading("empty_cache() with nothing alive")

    print("del frees memory once no name and no view is left; empty_cache() only returns what was free already.")
    if device.type == "cpu":
        print("Without a card there is no cache: memdoctor run --virtual a100-40gb recipes/empty_cache_versus_del.py")


if __name__ == "__main__":
    main()
