"""Every frozen record of the foundation survives JSON; what is newer or broken is refused."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memdoctor import foundation
from memdoctor.foundation.errors import UnreadableRun
from memdoctor.foundation.findings import Advice, Applicability, Confidence, Edit, Finding, Location, Severity, Skipped
from memdoctor.foundation.readings import DeviceReading, MemoryReading, ProcessReading, Retainer
from memdoctor.foundation.records import VERSION, dump, load, plain, rebuild

NAMES = [module.name for module in pkgutil.iter_modules(foundation.__path__)]
MODULES = [importlib.import_module(f"memdoctor.foundation.{name}") for name in NAMES]
RECORDS = sorted(
    {kind for module in MODULES for kind in vars(module).values() if dataclasses.is_dataclass(kind)},
    key=lambda kind: kind.__name__,
)
st.register_type_strategy(float, st.floats(allow_nan=False))  # a record that holds nan is not equal to itself

FINDING = Finding(
    code="MD101",
    name="loss-kept-with-graph",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    message="`total` keeps the graph of every iteration.",
    location=Location("train.py", 12, 5, 13, 8),
    variable="total",
    advice=Advice("total += loss.item()", Applicability.SAFE, (Edit(13, 4, 13, 4, ".item()"),)),
    cost_bytes=4096,
    retainer=Retainer("total", "total, global of train.py", None, 4096, True, also_held_by=("best",)),
    excerpt="        total += loss",
)


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_json_round_trip(kind: type[Any], data: st.DataObject) -> None:
    record = data.draw(st.from_type(kind))
    assert load(kind, json.loads(json.dumps(dump(record)))) == record


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_frozen_and_described(kind: type[Any]) -> None:
    assert kind.__dataclass_params__.frozen
    assert not (kind.__doc__ or "").startswith(f"{kind.__name__}("), "the docstring is the one that dataclass makes"


def test_the_form_of_a_finding() -> None:
    """Other programs read these keys; renaming one needs a new version."""
    assert plain(FINDING) == {
        "code": "MD101",
        "name": "loss-kept-with-graph",
        "severity": "error",
        "confidence": "high",
        "message": "`total` keeps the graph of every iteration.",
        "location": {
            "path": "train.py", "line": 12, "column": 5, "end_line": 13, "end_column": 8, "cell": None,
        },
        "variable": "total",
        "advice": {
            "text": "total += loss.item()",
            "applicability": "safe",
            "edits": [{"line": 13, "column": 4, "end_line": 13, "end_column": 4, "text": ".item()"}],
        },
        "cost_bytes": 4096,
        "retainer": {
            "name": "total",
            "path": "total, global of train.py",
            "location": None,
            "bytes_per_step": 4096,
            "keeps_graph": True,
            "host_bytes_per_step": 0,
            "graph_nodes_per_step": 0,
            "unit": "step",
            "since_step": 0,
            "tensors": 0,
            "is_cut": False,
            "also_held_by": ["best"],
        },
        "excerpt": "        total += loss",
    }


def test_a_dump_begins_with_its_version() -> None:
    assert next(iter(dump(Skipped("NVML", "not found")).items())) == ("version", VERSION)


def test_unknown_keys_are_ignored() -> None:
    """A newer memdoctor of the same version may add fields."""
    data = {"version": VERSION, "what": "NVML", "why": "not found", "since": 3}
    assert load(Skipped, data) == Skipped("NVML", "not found")


def test_missing_keys_take_their_default() -> None:
    card = rebuild(DeviceReading, {"index": 0, "name": "t4", "total_bytes": 9, "used_bytes": 1, "source": "NVML"})
    assert (card.processes, card.utilization_percent) == ((), None)


def test_null_is_none_where_none_is_allowed() -> None:
    assert rebuild(ProcessReading, {"pid": 1, "name": "python", "used_bytes": None}).used_bytes is None
    with pytest.raises(UnreadableRun):
        rebuild(ProcessReading, {"pid": None, "name": "python", "used_bytes": None})


def test_a_whole_number_is_a_float_too() -> None:
    """JSON of other writers has 3 for 3.0."""
    data = plain(MemoryReading(0, "train", 3.0, 1, 1, 1, 1, 1)) | {"seconds": 3}
    assert isinstance(rebuild(MemoryReading, data).seconds, float)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({"version": VERSION + 1, "what": "", "why": ""}, "pip install -U torch-memdoctor", id="newer"),
        pytest.param({"what": "", "why": ""}, "it has no version", id="no version"),
        pytest.param({"version": 0}, "it has no version", id="version 0"),
        pytest.param({"version": "1"}, "it has no version", id="version as text"),
        pytest.param({"version": 1.5}, "it has no version", id="half a version"),
        pytest.param([], "it has no version", id="a list"),
        pytest.param(None, "it has no version", id="null"),
        pytest.param({"version": VERSION, "what": "NVML"}, "no usable Skipped", id="a key is missing"),
        pytest.param({"version": VERSION, "what": "NVML", "why": 3}, "3 is not str", id="a number for a text"),
    ],
)
def test_what_cannot_be_read_is_refused(data: Any, words: str) -> None:
    with pytest.raises(UnreadableRun, match=words):
        load(Skipped, data)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"severity": "terrible"}, id="a severity that does not exist"),
        pytest.param({"location": {"path": "train.py"}}, id="a location without a line"),
        pytest.param({"location": "train.py:12"}, id="a location that is a text"),
        pytest.param({"cost_bytes": "4 KiB"}, id="a size that is a text"),
    ],
)
def test_a_broken_part_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRun, match="no usable Finding"):
        rebuild(Finding, plain(FINDING) | change)
