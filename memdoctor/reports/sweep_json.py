"""A sweep as one JSON object, for other programs."""

from __future__ import annotations

import json

from memdoctor.foundation.records import dump
from memdoctor.foundation.sweeps import Sweep


def sweep_json(result: Sweep) -> str:
    """`peak_bytes` and `margin_bytes` are null where the card was full; sizes in bytes, times in seconds."""
    return json.dumps(dump(result), indent=1)
