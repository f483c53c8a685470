"""Which names start anew in each iteration; a name that is wrongly called dead would hide a leak."""

from __future__ import annotations

import textwrap

import pytest

from memdoctor.sensing.liveness import dead_names, is_in_loop

LOOP = """
    def fit(batches):
        for batch in batches:
            {}
            step()
"""


def dead_in(body: str) -> frozenset[str]:
    source = textwrap.dedent(LOOP).format(body.replace("\n", "\n" + " " * 8))
    return dead_names(source, source.count("\n"))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("x = model(batch)", id="written before it is read"),
        pytest.param("if batch: x = 1\nelse: x = 2\nuse(x)", id="written in both branches"),
        pytest.param("try:\n    x = f()\nexcept E:\n    continue\nuse(x)", id="the other way ends the iteration"),
        pytest.param("with f() as x:\n    use(x)", id="bound by with"),
        pytest.param("x, y = model(batch), 0", id="one of several targets"),
        pytest.param("for x in batch:\n    use(x)", id="the variable of an inner loop"),
        pytest.param("x = 0\nuse([q for q in range(x)])", id="read in a comprehension, after"),
        pytest.param("del x\nx = 1", id="deleted first"),
    ],
)
def test_dead(body: str) -> None:
    assert "x" in dead_in(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("x += loss", id="a sum"),
        pytest.param("out, x = model(batch, x)", id="a state that is carried"),
        pytest.param("if batch: x = 1\nuse(x)", id="written in one branch only"),
        pytest.param("for b in batch: x = b\nuse(x)", id="an inner loop may not run at all"),
        pytest.param("try:\n    x = f()\nexcept E:\n    pass\nuse(x)", id="an exception comes first"),
        pytest.param("use(x)\nx = 1", id="read before it is written"),
        pytest.param("x = 1\nhook(lambda: x)", id="a nested function reads it, whenever it likes"),
        pytest.param("use(batch)", id="not written at all"),
        pytest.param("use([x for q in batch])\nx = 1", id="read in a comprehension, before"),
    ],
)
def test_alive(body: str) -> None:
    assert "x" not in dead_in(body)


def test_the_innermost_loop_that_binds_the_name_decides() -> None:
    """A sum that the epoch resets carries a graph from batch to batch."""
    source = "for epoch in e:\n    total = 0\n    for batch in b:\n        total += f(batch)\n        step()\n"
    assert "total" not in dead_names(source, 5)


def test_a_loop_around_the_step_itself_decides_nothing_about_other_names() -> None:
    source = "for batch in b:\n    loss = f(batch)\n    for o in optimizers:\n        o.step()\n"
    assert dead_names(source, 4) == {"loss", "batch", "o"}


def test_a_global_that_a_function_reads_is_alive() -> None:
    source = "def f():\n    return x\nfor batch in b:\n    x = 1\n    step()\n"
    assert "x" not in dead_names(source, 5)


def test_a_function_of_the_same_file_may_use_the_name_for_its_own_variable() -> None:
    source = "def f(x):\n    return x\nfor batch in b:\n    x = 1\n    step()\n"
    assert "x" in dead_names(source, 5)


@pytest.mark.parametrize(("line", "expected"), [(1, False), (3, True), (4, False)])
def test_loops_count_only_within_their_own_function(line: int, expected: bool) -> None:
    source = "a = 1\nfor i in range(3):\n    a = 2\ndef f():\n    a = 3\n"
    assert is_in_loop(source, line) is expected


def test_source_that_does_not_parse_has_no_dead_names() -> None:
    assert dead_names("for x in", 1) == frozenset()
