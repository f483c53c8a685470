"""The `.mdoc` file: every whole line survives, whatever happens to the process or to the end of the file."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from memdoctor.foundation.errors import BadInput, UnreadableRun
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading, MemoryReading, Timeline, thinned
from memdoctor.foundation.recording import Recording, read_recording, thin
from memdoctor.foundation.runs import CUT_OFF, FINISHED, RunEnd, RunHeader

HEADER = RunHeader(DeviceReading(0, "t4", 100, 10, "virtual"), "train.py", "2026-11-21T10:00:00+00:00")


def reading(step: int) -> MemoryReading:
    return MemoryReading(step, "train", 0.5 * step, 1024, 2048, 1536, 1000, 10**9)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Three iterations that end well."""
    path = tmp_path / "run.mdoc"
    with Recording(path) as recording:
        recording.begin(HEADER)
        for step in range(3):
            recording.add(reading(step))
        recording.add(Skipped("values", "virtual"))
        recording.add(RunEnd(FINISHED))
    return path


def test_a_recording_reads_as_it_was_written(recorded: Path) -> None:
    run = read_recording(recorded)
    assert run.header == HEADER
    assert run.timeline.readings == (reading(0), reading(1), reading(2))
    assert run.skipped == (Skipped("values", "virtual"),)
    assert run.end == RunEnd(FINISHED)


def test_a_record_is_in_the_file_before_the_next_line_of_the_program_runs(tmp_path: Path) -> None:
    """What `kill -9` leaves behind is what the file holds while it is still open."""
    path = tmp_path / "run.mdoc"
    with Recording(path) as recording:
        recording.begin(HEADER)
        recording.add(reading(0))
        run = read_recording(path)
    assert run.timeline.readings == (reading(0),)
    assert run.end == RunEnd(CUT_OFF)


def test_cut_anywhere_after_the_header_the_file_reads_up_to_its_last_whole_line(recorded: Path) -> None:
    whole = recorded.read_bytes()
    header_bytes = whole.index(b"\n") + 1
    for length in range(header_bytes, len(whole)):
        recorded.write_bytes(whole[:length])
        run = read_recording(recorded)
        assert len(run.timeline.readings) <= 3
        assert run.skipped in ((), (Skipped("values", "virtual"),))


def test_an_iteration_costs_less_than_200_bytes(recorded: Path) -> None:
    sizes = [len(line) for line in recorded.read_bytes().splitlines() if line.startswith(b'{"reading"')]
    assert len(sizes) == 3 and max(sizes) < 200


def test_a_damaged_line_ends_what_is_read_and_is_told(recorded: Path) -> None:
    lines = recorded.read_text().splitlines()
    lines[2] = lines[2][:-4] + "?]}"
    recorded.write_text("\n".join(lines))
    run = read_recording(recorded)
    assert run.timeline.readings == (reading(0),)
    assert run.skipped == (Skipped("the rest of the recording", "line 3 is damaged"),)


def test_a_column_and_a_kind_that_are_not_known_are_left_out(recorded: Path) -> None:
    lines = recorded.read_text().splitlines()
    header = json.loads(lines[0])
    header["columns"].append("temperature_celsius")
    first = json.loads(lines[1])
    first["reading"].append(71)
    recorded.write_text("\n".join([json.dumps(header), json.dumps(first), '{"weather": "rain"}']))
    assert read_recording(recorded).timeline.readings == (reading(0),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\x80\x02}q\x00.", "not JSON", id="a pickle"),
        pytest.param(b"not json", "not JSON", id="text"),
        pytest.param(b"[1]", "not an object", id="another kind of JSON"),
        pytest.param(b'{"a": 1}', "no version", id="another object"),
        pytest.param(b'{"version": 1}', "no usable RunHeader", id="without a device"),
        pytest.param(b'{"version": 99}', "version 99", id="newer"),
    ],
)
def test_what_is_no_recording_is_refused_with_a_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "run.mdoc"
    path.write_bytes(content)
    with pytest.raises(UnreadableRun, match=says):
        read_recording(path)


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRun, match="No such file"):
        read_recording(tmp_path / "none.mdoc")


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        Recording(tmp_path)


def test_a_full_disk_ends_the_file_and_not_the_run() -> None:
    recording = Recording(Path("/dev/full"))
    recording.begin(HEADER)
    recording.add(reading(0))
    run = recording.run()
    assert run.timeline.readings == (reading(0),)
    assert "No space left" in run.skipped[0].why


def test_the_process_keeps_a_long_run_in_little_memory_and_the_file_keeps_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest iterations as they are, of older ones the largest; the count and the running peak stay exact."""
    monkeypatch.setattr("memdoctor.foundation.recording.MOST_READINGS", 16)
    path = tmp_path / "run.mdoc"
    with Recording(path) as recording:
        recording.begin(HEADER)
        for step in range(100):
            recording.add(reading(step)._replace(allocated_bytes=9_999 if step == 21 else 1024))
        timeline = recording.run().timeline
    assert len(timeline.readings) <= 16 and timeline.iterations == 100
    assert [each.step for each in timeline.readings[-4:]] == [96, 97, 98, 99]
    assert max(each.allocated_bytes for each in timeline.readings) == 9_999
    assert len(read_recording(path).timeline.readings) == 100


def test_a_recording_can_be_thinned(recorded: Path, tmp_path: Path) -> None:
    thin(recorded, tmp_path / "small.mdoc", most=2)
    small = read_recording(tmp_path / "small.mdoc")
    assert [each.step for each in small.timeline.readings] == [0, 2]
    assert replace(small, timeline=Timeline()) == replace(read_recording(recorded), timeline=Timeline())


def test_a_disk_that_takes_a_part_of_a_line_gets_the_rest_too() -> None:
    class Slow(io.BytesIO):
        def write(self, data: object) -> int:
            return super().write(bytes(data)[:7])  # type: ignore[call-overload]  # bytes, which typeshed calls a buffer

    recording, slow = Recording(), Slow()
    recording._file = slow
    recording.begin(HEADER)
    assert json.loads(slow.getvalue())["program"] == "train.py"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9, 1000])
def test_no_more_than_asked_for_are_left(count: int) -> None:
    left = thinned([reading(step) for step in range(count)], 8, lambda each: each.allocated_bytes)
    assert len(left) <= 8 and left[-4:] == [reading(step) for step in range(count)][-4:]
