"""The answer of the batch-size search as one JSON object, for other programs."""

from __future__ import annotations

import json

from memdoctor.foundation.batch_sizes import BatchSize
from memdoctor.foundation.records import dump

_KEYS = ("version", "batch_size", "card", "peak_bytes", "margin_bytes", "predicted", "trials", "skipped")
_TRIAL_KEYS = ("batch_size", "fits", "peak_bytes", "seconds")


def batch_size_json(result: BatchSize) -> str:
    """`batch_size` is 0 when nothing fits; sizes are in bytes, times in seconds, trials in the order they ran."""
    known = dump(result)
    known["trials"] = [{key: trial[key] for key in _TRIAL_KEYS} for trial in known["trials"]]
    return json.dumps({key: known[key] for key in _KEYS}, indent=1)
