"""The reports of a search, from records written by hand."""

from __future__ import annotations

import json

from memdoctor.foundation.batch_sizes import BatchSize, Trial
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.records import load
from memdoctor.reports.batch_size_json import batch_size_json
from memdoctor.reports.batch_size_text import batch_size_text, trial_line

MIB = 2**20
FOUND = BatchSize(
    batch_size=24,
    card="1GiB",
    peak_bytes=1000 * MIB,
    margin_bytes=24 * MIB,
    predicted=25,
    trials=(
        Trial(1, True, 80 * MIB, 0.25),
        Trial(12, True, 520 * MIB, 0.5),
        Trial(25, False, None, 0.75),
        Trial(24, True, 1000 * MIB, 1.0),
    ),
    skipped=(Skipped("values", "not computed"),),
)
NOTHING = BatchSize(0, "1GiB", None, None, None, (Trial(8, False, None, 0.5),))


def test_text_answers_first_and_lists_the_trials_by_size() -> None:
    assert batch_size_text(FOUND) == """\
The largest batch size that fits on 1GiB is 24.
Its steps peak at 1000.0 MiB and leave 24.0 MiB, too little or too fragmented for the next size.
The first trials predicted 25; 4 trials proved the answer.

batch size  fits        peak  seconds
         1   yes    80.0 MiB      0.2
        12   yes   520.0 MiB      0.5
        24   yes  1000.0 MiB      1.0
        25    no        full      0.8
not looked at: values: not computed"""


def test_text_of_a_search_that_met_its_maximum_says_so() -> None:
    met = BatchSize(2, "1GiB", 20 * MIB, 1004 * MIB, 2, (Trial(1, True, 10 * MIB, 0.1), Trial(2, True, 20 * MIB, 0.1)))
    assert "no size failed, the search ended at its maximum (--max)." in batch_size_text(met)


def test_text_when_nothing_fits_says_what_to_do_next() -> None:
    lines = batch_size_text(NOTHING).splitlines()
    assert lines[0] == "Not even batch size 8 fits on 1GiB."
    assert lines[1].startswith("Make the step smaller: half precision")


def test_json_has_the_keys_in_this_order() -> None:
    data = json.loads(batch_size_json(FOUND))
    keys = ["version", "batch_size", "card", "peak_bytes", "margin_bytes", "predicted", "trials", "skipped"]
    assert list(data) == keys
    assert data["trials"][2] == {"batch_size": 25, "fits": False, "peak_bytes": None, "seconds": 0.75}


def test_json_reads_back() -> None:
    for result in (FOUND, NOTHING):
        assert load(BatchSize, json.loads(batch_size_json(result))) == result


def test_a_trial_as_it_ends() -> None:
    assert trial_line(FOUND.trials[0]) == "batch size 1 fits: peak 80.0 MiB, 0.2 s"
    assert trial_line(FOUND.trials[2]) == "batch size 25 does not fit: the card is full, 0.8 s"
