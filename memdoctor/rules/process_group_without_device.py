"""A process of an NCCL group never chooses its GPU.

What does not name a card then lands on the first: `barrier()`, `empty_cache()`, `.cuda()`. Every process of the node
makes a context there, some hundred MiB each, and the first card runs out before the others.

Bad::

    torch.distributed.init_process_group("nccl")
    model = model.to(torch.device("cuda", local_rank))
    torch.distributed.barrier()

Good::

    torch.cuda.set_device(local_rank)
    torch.distributed.init_process_group("nccl")
    model = model.to(torch.device("cuda", local_rank))
    torch.distributed.barrier()

Does not see: a launcher that shows each process one card only; a device that is chosen in another file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._arguments import argument_of, is_constant
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source

_CHOOSES_DEVICE = re.compile(r"set_device|device_id\b|cuda\.device\(|CUDA_VISIBLE_DEVICES")


def check(source: Source) -> Iterator[Finding]:
    """Report NCCL groups in files that use the default device and choose none."""
    groups = [call for call, _ in source.calls.get("init_process_group", []) if _is_nccl(call)]
    if not groups or source.is_test or _chooses_device(source) or not _uses_default_device(source):
        return
    for call in groups:
        yield RULE.finding(
            source, call,
            "No GPU is chosen for this process: barriers and calls without a device of every process land on the"
            " first GPU.",
            advice=Advice("Call `torch.cuda.set_device(local_rank)` before it.", Applicability.UNSAFE),
            confidence=Confidence.MEDIUM,
        )


def _chooses_device(source: Source) -> bool:
    return any(_CHOOSES_DEVICE.search(line.split("#", 1)[0]) for line in source.lines)


def _is_nccl(call: ast.Call) -> bool:
    backend = argument_of(call, "backend", 0)
    return isinstance(backend, ast.Constant) and "nccl" in str(backend.value)


def _uses_default_device(source: Source) -> bool:
    barriers = [call for call, _ in source.calls.get("barrier", [])]
    moves = [call for call, _ in source.calls.get("cuda", [])]
    return (
        any(is_constant(argument_of(call, "device_ids"), None) or not call.keywords for call in barriers)
        or any(not call.args and not call.keywords for call in moves)
        or bool(source.calls.get("empty_cache"))
    )


RULE = Rule("MD305", "process-group-without-device", Severity.WARNING, check)
