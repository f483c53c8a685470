"""The cards of this machine, and the catalogue, as JSON: an object is one line, so that `--watch` streams them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from memdoctor.foundation.gpus import GpusReport
from memdoctor.foundation.readings import DeviceReading
from memdoctor.foundation.records import VERSION, dump, plain


def gpus_json(report: GpusReport) -> str:
    """`{"version", "cards": [...], "skipped": [...]}`, sizes in bytes."""
    return json.dumps(dump(report))


def catalogue_json(cards: Mapping[str, DeviceReading]) -> str:
    """`{"version", "cards": {NAME: {...}}}`, sizes in bytes."""
    return json.dumps({"version": VERSION, "cards": plain(dict(cards))})
