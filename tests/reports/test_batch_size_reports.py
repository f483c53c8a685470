"""The reports of a search, from records written by hand."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

from memdoctor.foundation.batch_sizes import BatchSize, CardFit, Recorded, Trial, WhichCards
from memdoctor.foundation.findings import Skipped
from memdoctor.reports.batch_size_json import batch_size_json
from memdoctor.reports.batch_size_svg import batch_size_svg
from memdoctor.reports.batch_size_text import batch_size_text, trial_line
from memdoctor.reports.which_cards_json import which_cards_json
from memdoctor.reports.which_cards_text import card_line, which_cards_text

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
    recorded=(Recorded(2, 128 * MIB), Recorded(24, 1000 * MIB)),
)
NOTHING = BatchSize(0, "1GiB", None, None, None, (Trial(8, False, None, 0.5),))


def test_text_answers_first_and_lists_the_trials_by_size() -> None:
    """A bar of 30 is the card; a size that was tried is not listed as recorded too."""
    assert batch_size_text(FOUND) == """\
The largest batch size that fits on 1GiB is 24.
Its steps peak at 1000.0 MiB and leave 24.0 MiB, too little or too fragmented for the next size.
25 was forecast; 4 trials proved the answer.

batch size      fits        peak  seconds
         1       yes    80.0 MiB      0.2  ##
         2  recorded   128.0 MiB           ####
        12       yes   520.0 MiB      0.5  ###############
        24       yes  1000.0 MiB      1.0  #############################
        25        no        full      0.8
not looked at: values: not computed"""


def test_text_says_when_a_size_would_run_slowly() -> None:
    slow = Trial(25, False, None, 0.75, alloc_retries=3)
    text = batch_size_text(dataclasses.replace(FOUND, trials=(FOUND.trials[3], slow)))
    assert "25 would run, slowly, and counts as too large: PyTorch empties its cache in a step (3 times)." in text
    assert trial_line(slow) == "batch size 25 does not fit: PyTorch empties its cache in a step (3 times), 0.8 s"


def test_text_has_speeds_where_a_card_showed_them() -> None:
    fast = dataclasses.replace(FOUND.trials[3], step_seconds=0.02)
    lines = batch_size_text(dataclasses.replace(FOUND, trials=(fast,), recorded=())).splitlines()
    assert lines[-2].split()[-2:] == ["1,200.0", "#" * 29]
    assert lines[-3].endswith("seconds  samples/s")


def test_text_of_another_axis_names_it() -> None:
    text = batch_size_text(dataclasses.replace(FOUND, axis="seq_len", is_exact=False))
    assert text.startswith("About the largest seq_len that fits on 1GiB is 24.")


def test_text_of_a_search_that_met_its_maximum_says_so() -> None:
    met = BatchSize(2, "1GiB", 20 * MIB, 1004 * MIB, 2, (Trial(1, True, 10 * MIB, 0.1), Trial(2, True, 20 * MIB, 0.1)))
    assert "no size failed, the search ended at its maximum (--max)." in batch_size_text(met)
    ended_by_data = batch_size_text(dataclasses.replace(met, is_ended_by_data=True))
    assert "no size failed, the data fill no larger one." in ended_by_data
    assert "--max" not in ended_by_data


def test_text_when_nothing_fits_says_what_to_do_next() -> None:
    lines = batch_size_text(NOTHING).splitlines()
    assert lines[0] == "Not even batch size 8 fits on 1GiB."
    assert lines[1].startswith("Make the step smaller: half precision")


def test_the_advice_of_the_crash_comes_first() -> None:
    lines = batch_size_text(dataclasses.replace(NOTHING, advice=("Recompute Net.layers in backward.",))).splitlines()
    assert lines[1:3] == ["- Recompute Net.layers in backward.", lines[2]]
    assert lines[3] == "`--which-cards 8` says which cards it would fit."


def test_json_has_these_keys_in_this_order_and_no_others() -> None:
    data = json.loads(batch_size_json(FOUND))
    keys = ["version", "batch_size", "card", "peak_bytes", "margin_bytes", "predicted", "trials", "skipped"]
    assert list(data) == keys
    assert data["trials"][2] == {"batch_size": 25, "fits": False, "peak_bytes": None, "seconds": 0.75}
    assert data["skipped"] == [{"what": "values", "why": "not computed"}]


def test_the_picture_has_a_point_for_each_size_that_has_bytes() -> None:
    """1, 2, 12 and 24; a cross for 25, and the line of the card."""
    picture = ElementTree.fromstring(batch_size_svg(dataclasses.replace(FOUND, card="<card>")))
    space = "{http://www.w3.org/2000/svg}"
    points = [circle.findtext(f"{space}title") for circle in picture.iter(f"{space}circle")]
    assert points == ["1: 80.0 MiB", "2: 128.0 MiB", "12: 520.0 MiB", "24: 1000.0 MiB"]
    texts = ["".join(text.itertext()) for text in picture.iter(f"{space}text")]
    assert {"25: does not fit×", "the card: 1.0 GiB", "bytes against batch size on <card>"} <= set(texts)


def test_the_picture_of_a_search_without_an_answer_is_one_too() -> None:
    assert batch_size_svg(NOTHING).startswith("<svg")


CARDS = WhichCards(32, (
    CardFit("t4", 15 * 2**30, Trial(32, False, None, 0.5)),
    CardFit("a100-40gb", 39 * 2**30, Trial(32, True, 20 * 2**30, 0.5)),
))


def test_cards_that_fit() -> None:
    assert which_cards_text(CARDS) == """\
The smallest card that fits batch size 32 is a100-40gb (39.0 GiB).

card              memory  fits        peak
t4              15.0 GiB    no        full
a100-40gb       39.0 GiB   yes    20.0 GiB"""
    assert card_line(CARDS.cards[0]) == "t4 is too small, 0.5 s"
    assert card_line(CARDS.cards[1]) == "a100-40gb fits: peak 20.0 GiB, 0.5 s"
    assert json.loads(which_cards_json(CARDS))["cards"][0] == {
        "card": "t4", "total_bytes": 15 * 2**30, "fits": False, "peak_bytes": None, "seconds": 0.5}


def test_no_card_fits() -> None:
    text = which_cards_text(WhichCards(32, CARDS.cards[:1], axis="seq_len"))
    assert text.startswith("No card of the catalogue fits seq_len 32.")


def test_a_trial_as_it_ends() -> None:
    assert trial_line(FOUND.trials[0]) == "batch size 1 fits: peak 80.0 MiB, 0.2 s"
    assert trial_line(FOUND.trials[2]) == "batch size 25 does not fit: the card is full, 0.8 s"
