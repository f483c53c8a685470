"""Sizes in and out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdoctor.foundation.errors import BadInput, BadSize
from memdoctor.foundation.units import GIB, KIB, MIB, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        pytest.param("24GiB", 25_769_803_776, id="binary unit"),
        pytest.param("24G", 25_769_803_776, id="a bare letter is binary"),
        pytest.param("80 GB", 80_000_000_000, id="decimal unit"),
        pytest.param("512 MiB", 536_870_912, id="a space before the unit"),
        pytest.param("1.5k", 1536, id="a fraction, and a small letter"),
        pytest.param(".5 KB", 500, id="no digit before the point"),
        pytest.param("1048576", 1_048_576, id="no unit is bytes"),
        pytest.param("7 bytes", 7, id="bytes as a word"),
        pytest.param("0.3", 0, id="part of a byte is rounded down"),
        pytest.param(" 2TiB\n", 2_199_023_255_552, id="space around it"),
    ],
)
def test_a_size_is_read(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1G", "24 GiG", "1,5G", "0x10", "nan", "inf", "1e9", "24GiB of memory"])
def test_anything_else_is_refused_in_the_users_words(text: str) -> None:
    """It is a misuse (exit code 2) for the command line, and a ValueError for Python."""
    with pytest.raises(BadSize) as caught:
        parse_bytes(text)
    assert caught.value.found == f"{text!r} is not a size."
    assert isinstance(caught.value, BadInput) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (42_298_834_944, "39.4 GiB"),
        (-3 * MIB, "-3.0 MiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_a_size_is_written(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


@given(st.integers(min_value=0, max_value=2**63))
def test_a_plain_number_is_read_exactly(size_bytes: int) -> None:
    assert parse_bytes(str(size_bytes)) == size_bytes


@given(st.integers(min_value=0, max_value=2**63))
def test_what_is_written_is_read_back_within_its_last_digit(size_bytes: int) -> None:
    """A size of one digit before the point is off by at most 0.05 of 1, which is 5 %."""
    assert parse_bytes(format_bytes(size_bytes)) == pytest.approx(size_bytes, rel=0.05, abs=0)


@given(st.integers(min_value=1, max_value=999), st.sampled_from(["K", "M", "G"]))
def test_binary_units_are_larger_than_decimal_ones(number: int, letter: str) -> None:
    assert parse_bytes(f"{number}{letter}iB") == parse_bytes(f"{number}{letter}") > parse_bytes(f"{number}{letter}B")


def test_gib_is_two_to_the_thirty() -> None:
    assert (KIB, MIB, GIB) == (1024, 1_048_576, 1_073_741_824)
