"""What a run finds beside leaks, and no reading of source can: the documentation of these codes.

Findings that `memdoctor scan` knows too (MD201, MD401) have theirs in their rules.
"""

from __future__ import annotations

from memdoctor.foundation.findings import RuleText, Severity

RUN_TIME_CODES = (
    RuleText("MD207", "eval-peak-above-training", Severity.INFO, """Evaluation takes more of the card than training.

Without gradients it should take less: no activations stay. Its batches are larger, or what it gathers (outputs for a
metric) stays on the card beside the optimizer's state. Found where both peaks are known, and one is 10 % above."""),
    RuleText("MD402", "allocator-retries", Severity.WARNING, """PyTorch had to empty its cache to serve a request.

Each time it waits for the card, gives free segments back to the driver and asks again: the program runs at the limit
of the card, and slower than it could. Check by hand: `num_alloc_retries` of `torch.cuda.memory_stats()`."""),
    RuleText("MD403", "out-of-memory", Severity.ERROR, """The card was full, and the program ended there.

Five causes are told apart: a leak; too much at one moment; fragmentation, where PyTorch held enough that was free, but
no piece of it was large enough; other processes; and a limit that the program had set itself. The message says which,
and the line that asked."""),
    RuleText("MD502", "worker-copies-dataset", Severity.WARNING, """Workers copy a data set of Python objects.

Forked workers share the pages of the data set until somebody writes to one. Reading a Python object writes its
reference count: page by page each worker gets a copy of its own of a list of paths, a dictionary of labels. Found
where private pages of the same workers grow by what they share less, and the data set has a container of 10,000
objects or more. One array (numpy, torch, Arrow) has no counts in its elements."""),
    RuleText("MD503", "loader-queue-exceeds-memory", Severity.WARNING, """A loader prepares more than memory can hold.

Workers x prefetch_factor x bytes of a batch travel through /dev/shm, of which a container has 64 MiB unless it is
given more; a worker that finds no room dies of a bus error. Found at the first batch, or when that has happened."""),
    RuleText("MD504", "open-files-grow", Severity.WARNING, """Open files rise all along, to half of what is allowed.

Each tensor that a worker sends keeps a file open for as long as the tensor lives: a list of batches ends in "too many
open files". `.clone()` what is kept, or share by `torch.multiprocessing.set_sharing_strategy("file_system")`."""),
    RuleText("MD505", "host-memory-grows", Severity.WARNING, """The memory of the program's processes rises all along.

Evenly over all four quarters of the run, by 128 MiB and a tenth or more, while no leak of tensors explains it. Lists,
caches and logs that get longer are what it is most often. A container without a limit in which arrays of numpy, or
tensors that were moved to the host, have come to 128 MiB is named."""),
)
"""By code. Each begins with what is found."""
