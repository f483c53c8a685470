"""The tree of errors: what each costs as an exit code, and that a message has its two halves."""

from __future__ import annotations

import pytest

from memdoctor.foundation import errors
from memdoctor.foundation.errors import BadInput, MemdoctorError

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MemdoctorError)]


@pytest.mark.parametrize("kind", TREE)
def test_bad_input_is_exit_code_2_and_our_own_failure_3(kind: type[MemdoctorError]) -> None:
    assert kind("found").exit_code == (2 if issubclass(kind, BadInput) else 3)


@pytest.mark.parametrize("kind", TREE)
def test_the_tree_is_drawn_at_the_top_of_its_file(kind: type[MemdoctorError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_message_says_what_was_found_and_the_next_step() -> None:
    error = BadInput("no such file: train.py", "Name a file that exists.")
    assert str(error) == "no such file: train.py\nName a file that exists."
    assert (error.found, error.next_step) == ("no such file: train.py", "Name a file that exists.")


def test_without_a_next_step_it_is_one_line() -> None:
    assert str(BadInput("no such file: train.py")) == "no such file: train.py"
