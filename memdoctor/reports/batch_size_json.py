"""The answer of the batch-size search as one JSON object, for other programs."""

from __future__ import annotations

import json

from memdoctor.foundation.batch_sizes import BatchSize
from memdoctor.foundation.records import dump


def batch_size_json(result: BatchSize) -> str:
    """`batch_size` is 0 when nothing fits; sizes are in bytes, times in seconds, trials in the order they ran."""
    return json.dumps(dump(result), indent=1)
