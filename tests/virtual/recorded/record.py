"""Record the programs with PyTorch's CUDA build on stub libraries, where kernels do nothing and allocations are real.

    python -m tests.virtual.recorded.record FOLDER [NAME...]

`FOLDER` holds `fakecuda.py`, which puts the stubs in place of CUDA. Each program runs in a process of its own; copies
to the host deliver zeros there. Writes `peaks.json`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

PEAKS = Path(__file__).with_name("peaks.json")
_CAPABILITIES = {"h100-80gb": "90", "a100-80gb": "80", "t4": "75"}


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    import fakecuda  # noqa: F401  # the stubs must be there before torch is loaded
    import torch

    from .programs import PROGRAMS

    _supply_what_is_read(torch)
    recorded = json.loads(PEAKS.read_text(encoding="utf-8")) if PEAKS.exists() else {}
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for name, steps in pool.imap(_recorded, sys.argv[2:] or PROGRAMS, chunksize=1):
            print(name, steps, flush=True)
            if isinstance(steps, list):
                recorded[name] = steps
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(recorded[name])}" for name in PROGRAMS if name in recorded)
    PEAKS.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _recorded(name: str) -> tuple[str, Any]:
    """The card's kind must be in the environment before the first use of CUDA, which is here."""
    import torch

    from .programs import CARD_BYTES, PROGRAMS, card_of, steps_of

    os.environ.update(FAKECUDA_CC=_CAPABILITIES[card_of(name)], FAKECUDA_MEM_BYTES=str(CARD_BYTES))
    torch.manual_seed(0)
    try:
        step = PROGRAMS[name]()
        return name, [_counted(torch, step) for _ in range(steps_of(name))]
    except Exception as error:
        return name, f"{type(error).__name__}: {error}"[:300]


def _counted(torch: Any, step: Any) -> list[int]:
    """Peak allocated, peak reserved and allocated at the end of one step."""
    torch.cuda.reset_peak_memory_stats()
    step()
    return [torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(), torch.cuda.memory_allocated()]


def _supply_what_is_read(torch: Any) -> None:
    """The few values that decide what is allocated, as a card would give them."""
    import torch.nn.parallel.distributed as distributed

    distributed._verify_param_shape_across_processes = lambda *given, **options: None
    above, slopes = torch.Tensor.__gt__, torch.autograd.grad

    def greater(self: Any, other: Any) -> Any:
        """`LBFGS` keeps a step whose curvature is above this number; on a card it practically always is."""
        return True if isinstance(other, float) and other == 1e-10 else above(self, other)

    def settled(*given: Any, **options: Any) -> Any:
        """Autograd's thread lets go of the results a moment after the call."""
        found = slopes(*given, **options)
        time.sleep(0.05)
        return found

    torch.Tensor.__gt__, torch.autograd.grad = greater, settled


if __name__ == "__main__":
    main()
